"""Shared by all tests: checked array shapes, float64, a fixed seed, golden files."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

NUMERICS = [
    f"tpsctl.{name}"
    for name in ("action", "endpoints", "guess", "landscape", "molecule", "networks", "optimize", "prior", "score")
]
install_import_hook(NUMERICS, "beartype.beartype")  # before the first import of these modules

try:
    import torch
except ModuleNotFoundError:  # `make pythons` runs what needs no torch, without it
    torch = None

    class _Skip:
        """Skips the test, or the module, that tries to import a large package which is missing."""

        def find_spec(self, name, path=None, target=None):
            if name in ("torch", "openmm", "mdtraj", "matplotlib"):
                pytest.skip(f"needs {name}", allow_module_level=True)

    sys.meta_path.append(_Skip())  # the last to be asked, after all that could find it

signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job starts with it ignored
if torch is not None:
    torch.set_num_threads(1)  # the tensors of tests are small: more threads only wait for one another


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files instead of comparing")


@pytest.fixture(autouse=True)
def _float64_and_seed():
    """float64 and one fixed seed for every test."""
    if torch is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def golden(request):
    """Compare text with a golden file; `pytest --update-golden` rewrites it."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden"
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: check, then run pytest --update-golden"

    return compare


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def run_with_plugins(tmp_path_factory):
    """Run tpsctl in a folder, beside the example of plug-ins, which pip really builds and installs."""
    example = Path(__file__).parent / "plugin_example"
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(example, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    words = [*command, "--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def run(arguments, cwd):
        paths = [str(folder / "site"), str(example.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "tpsctl", *arguments]
        return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=environment)

    return run


@pytest.fixture
def compiler() -> list[str]:
    """The command of the C compiler that an installation would take."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        pytest.skip("no C compiler")
    return command


_CAPPED_ALANINE = """\
ATOM      1  CH3 ACE A   1       2.000   2.090   0.000  1.00  0.00           C
ATOM      2  C   ACE A   1       3.427   2.641   0.000  1.00  0.00           C
ATOM      3  O   ACE A   1       4.391   1.877   0.000  1.00  0.00           O
ATOM      4  N   ALA A   2       3.555   3.970   0.000  1.00  0.00           N
ATOM      5  CA  ALA A   2       4.853   4.614   0.000  1.00  0.00           C
ATOM      6  CB  ALA A   2       5.661   4.221   1.232  1.00  0.00           C
ATOM      7  C   ALA A   2       5.661   4.221  -1.232  1.00  0.00           C
ATOM      8  O   ALA A   2       5.123   3.521  -2.131  1.00  0.00           O
ATOM      9  N   NME A   3       6.911   4.687  -1.232  1.00  0.00           N
ATOM     10  C   NME A   3       7.811   4.387  -2.332  1.00  0.00           C
END
"""


@pytest.fixture(scope="session")
def alanine():
    """ACE-ALA-NME (22 atoms) at a minimum of amber99sbildn in vacuum: topology and positions (22, 3), nm."""
    import io
    import random

    import openmm
    from openmm import app

    from tpsctl.molecule.topology import Atom, Topology

    random.seed(0)  # openmm adds hydrogens at random places

    heavy, field = app.PDBFile(io.StringIO(_CAPPED_ALANINE)), app.ForceField("amber99sbildn.xml")
    reference = openmm.Platform.getPlatformByName("Reference")
    whole = app.Modeller(heavy.topology, heavy.positions)
    whole.addHydrogens(field, platform=reference)
    context = openmm.Context(field.createSystem(whole.topology), openmm.VerletIntegrator(0.001), reference)
    context.setPositions(whole.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 0.01)
    x = torch.tensor(context.getState(positions=True).getPositions(asNumpy=True)._value, dtype=torch.float64)
    atoms = tuple(
        Atom(a.name, a.element.symbol, a.residue.name, int(a.residue.id), a.residue.chain.id, a.element.mass._value)
        for a in whole.topology.atoms()
    )
    bonds = tuple(sorted((min(a.index, b.index), max(a.index, b.index)) for a, b in whole.topology.bonds()))
    return Topology(atoms, bonds), x


@pytest.fixture(scope="session")
def peroxide():
    """H-O-O-H, the smallest molecule with a torsion: topology, and frames with scores of a simple energy.

    `frames(count)` gives positions (count, 4, 3) in nm and scores -grad U/kT in 1/nm for harmonic 1-2 and 1-3
    distances and 2 cos(5 phi) + cos(phi): the fivefold term is more than a force field's usual torsions can do.
    """
    from types import SimpleNamespace

    from tpsctl.molecule.geometry import center, dihedral
    from tpsctl.molecule.topology import Atom, Topology

    names = ("H1", "O1", "O2", "H2")
    atoms = tuple(Atom(n, n[0], "PER", 1, "A", 15.999 if n[0] == "O" else 1.008) for n in names)
    topology = Topology(atoms, ((0, 1), (1, 2), (2, 3)))
    pairs, lengths = (
        torch.tensor([[0, 1], [1, 2], [2, 3], [0, 2], [1, 3]]),
        torch.tensor([0.10, 0.15, 0.10, 0.19, 0.19]),
    )

    def energy(x):
        d = (x[:, pairs[:, 0]] - x[:, pairs[:, 1]]).norm(dim=-1)
        phi = dihedral(x, torch.tensor([[0, 1, 2, 3]]))[:, 0]
        return 2e4 * (d - lengths.to(x)).square().sum(1) + 2 * (5 * phi).cos() + phi.cos()

    def frames(count, seed=0):
        g = torch.Generator().manual_seed(seed)
        phi = 2 * torch.pi * torch.rand(count, generator=g, dtype=torch.float64)
        x = torch.zeros(count, 4, 3, dtype=torch.float64)
        x[:, 2, 2] = 0.15
        x[:, 0] = torch.tensor([0.0925, 0.0, -0.038])
        x[:, 3] = torch.stack((0.0925 * phi.cos(), 0.0925 * phi.sin(), torch.full_like(phi, 0.188)), 1)
        x = center(x + 0.003 * torch.randn(x.shape, generator=g, dtype=torch.float64)).requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(x).sum(), x)
        return x.detach(), -gradient

    return SimpleNamespace(topology=topology, frames=frames, energy=energy)


SMALL_RUN = """\
version: 1
name: small
seed: 1
endpoints: {{start: {{structure: {folder}/c7eq.pdb}}, end: {{structure: {folder}/c7ax.pdb}}}}
prior: {{kind: openmm, force_field: [amber99sbildn.xml], temperature_k: 300}}
path: {{paths: 2, images: 12, guess: {{kind: torsion}}}}
action: {{functional: truncated, dt_ps: 0.001, friction_per_ps: 1.0}}
optimize: {{method: lbfgs, max_steps: 3}}
validation: {{energy: {{force_field: [amber99sbildn.xml], platform: Reference}}, saddle: false}}
output: {{directory: small, figures: false}}
"""


@pytest.fixture(scope="session")
def finished_run(root, tmp_path_factory):
    """The directory of a finished run: two paths of 12 images of alanine dipeptide, valid and not converged."""
    from tpsctl.progress import Progress
    from tpsctl.recipe.loader import load_recipe
    from tpsctl.recipe.sample import SampleRecipe
    from tpsctl.workflows.sample.run import run_recipe
    from tpsctl.workflows.sample.settings import RunSettings

    file = tmp_path_factory.mktemp("finished") / "recipe.yaml"
    file.write_text(SMALL_RUN.format(folder=root / "recipes/alanine_dipeptide"))
    run_recipe(load_recipe(file, SampleRecipe), RunSettings(threads=1), Progress())
    return file.parent / "small"

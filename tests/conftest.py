"""Shared by all tests: checked array shapes, float64, a fixed seed, golden files."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

NUMERICS = [
    f"tpsctl.{name}"
    for name in ("action", "endpoints", "geometry", "guess", "optimize", "potentials", "prior", "schedule", "score")
]
install_import_hook(NUMERICS, "beartype.beartype")  # before the first import of these modules

import torch  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files instead of comparing")


@pytest.fixture(autouse=True)
def _float64_and_seed():
    """float64 and one fixed seed for every test."""
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

    import openmm
    from openmm import app

    from tpsctl.topology import Atom, Topology

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

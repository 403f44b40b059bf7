"""Saddles found again by other programs: geomeTRIC's search for transition states, SciPy's L-BFGS down from them.

Both see nothing of tpsctl but energies and forces of OpenMM's Reference platform.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize

from tests.landscape.conftest import molecule_of, route_search
from tpsctl.endpoints.load import load_structure
from tpsctl.endpoints.match import match
from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.saddle import climb_to_saddles
from tpsctl.landscape.search_state import SearchSettings


def test_geometric_finds_the_same_cis_saddle_of_butane(butane, tmp_path, monkeypatch):
    """geomeTRIC stops at a gradient of 4.5e-4 Hartree/Bohr by default; "GAU_VERYTIGHT" leaves 1e-4 kJ/mol."""
    pytest.importorskip("geometric")
    monkeypatch.chdir(tmp_path)
    surface = butane.molecule.surface
    names = [atom.name for atom in butane.topology.atoms]
    middle = {names.index("C2"), names.index("C3")}
    bonds = butane.molecule.bonds
    bond = next(k for k, (_, b, c, _) in enumerate(bonds.dihedrals) if {b, c} == middle)
    guess = bonds.turned(butane.x["gauche"], bond, -1.15)
    ours = climb_to_saddles(
        surface, guess[None], BondedCoordinates(butane.topology), [torch.Generator().manual_seed(0)]
    )
    theirs = transition_state_by_geometric(surface, butane.topology, guess)
    energy, gradient = surface.energy_gradient(theirs[None])
    assert float(gradient.norm()) < 1.0
    assert float(energy[0]) == pytest.approx(float(ours.energy[0]), abs=1e-3)


def transition_state_by_geometric(surface, topology, x):
    """geomeTRIC's structure, nm, from a start of ours."""
    from benchmarks.independent_search import transition_state

    found = transition_state(surface, topology, x, most_steps=300)
    assert found is not None, "geomeTRIC gave up"
    return found


AMBER = ("amber14-all.xml",)

ROUTES = {
    "butane": ("butane_gauche", "butane_gauche_minus", ("butane.xml",), 1, 10.472),
    "cyclohexane": ("cyclohexane_chair", "cyclohexane_chair_flipped", ("cyclohexane.xml",), 3, 46.958),
    "alanine dipeptide": ("c7eq", "c7ax", ("amber99sbildn.xml",), 2, 36.373),
    "ACE-PRO-NME": ("ace_pro_nme_trans", "ace_pro_nme_cis", AMBER, 2, 62.026),
    "ACE-ALA-ALA-NME": ("ace_ala2_nme_c7eq", "ace_ala2_nme_c7ax", AMBER, 4, 26.009),
}
"""Files of A and B, force field, number of rounds, and the highest saddle of the lowest route above A in kJ/mol."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUTES)
def test_other_programs_confirm_every_saddle_of_the_lowest_route(name, root, tmp_path, monkeypatch):
    """Index by eigenvalues of differences of forces, energy by geomeTRIC, both minima by L-BFGS.

    geomeTRIC's "GAU_VERYTIGHT" leaves gradients below 1 kJ/mol/nm, which is 1e-3 kJ/mol at curvatures of 1e3 or more;
    along softer modes it leaves up to 0.01 kJ/mol. L-BFGS stops at 0.01 kJ/mol/nm.
    """
    pytest.importorskip("geometric")
    monkeypatch.chdir(tmp_path)
    first, last, files, rounds, top = ROUTES[name]
    topology, molecule, ends = _loaded(root, first, last, files, keep_labels=name == "cyclohexane")
    result = route_search(molecule, ends, 1, SearchSettings(most_rounds=rounds))
    route, network = result.routes[0], result.network
    zero = network.minima[result.start].energy
    saddles = [network.saddles[k] for k in route.saddles]
    assert route.top - zero == pytest.approx(top, abs=0.01)
    for saddle, around in zip(saddles, zip(route.minima, route.minima[1:], strict=False), strict=True):
        values, mode = _lowest_mode(molecule.surface, saddle.x)
        assert (values < -1.0).sum() == 1
        theirs = transition_state_by_geometric(molecule.surface, topology, saddle.x + 0.002 * _noise(saddle.x))
        energy, _ = molecule.surface.energy_gradient(theirs[None])
        assert float(energy[0]) == pytest.approx(saddle.energy, abs=0.01)
        lows = sorted(_downhill(molecule.surface, saddle.x + sign * 0.005 * mode) for sign in (1, -1))
        assert lows == pytest.approx(sorted(network.minima[i].energy for i in around), abs=0.01)


@pytest.mark.slow
def test_proline_reaches_the_cis_end_lower_by_puckering_its_ring(root, tmp_path, monkeypatch):
    """From M1 (6.05) to B (15.30) the direct pass lies at 40.934 kJ/mol; that in the other pucker lies at 31.707.

    The ring puckers over 14.989, psi turns over 31.707, and the ring puckers back over 25.842. geomeTRIC starts from
    positions that are rounded to 1e-4 nm, and L-BFGS joins the three saddles to one way.
    """
    pytest.importorskip("geometric")
    monkeypatch.chdir(tmp_path)
    topology, molecule, ends = _loaded(root, "ace_pro_nme_trans", "ace_pro_nme_cis", AMBER, keep_labels=False)
    surface = molecule.surface
    zero = _downhill(surface, ends[0])
    lines = (root / "tests/landscape/molecules/ace_pro_nme_saddles.pdb").read_text().splitlines()
    numbers = [
        [float(line[k : k + 8]) / 10 for k in (30, 38, 46)] for line in lines if line.startswith(("ATOM", "HETATM"))
    ]
    energies, sides = [], []
    for guess in torch.tensor(numbers).reshape(3, -1, 3):
        saddle = transition_state_by_geometric(surface, topology, guess)
        values, mode = _lowest_mode(surface, saddle)
        assert (values < -1.0).sum() == 1
        energies.append(float(surface.energy_gradient(saddle[None])[0][0]) - zero)
        sides += sorted(_downhill(surface, saddle + sign * 0.005 * mode) - zero for sign in (1, -1))
    assert energies == pytest.approx([14.989, 31.707, 25.842], abs=0.01)
    assert sides == pytest.approx([3.97, 6.05, 3.97, 14.10, 14.10, 15.30], abs=0.01)


def _loaded(root, first, last, files, *, keep_labels):
    folder = root / "tests" / "landscape" / "molecules"
    structures = []
    for name in (first, last):
        here = folder / f"{name}.pdb"
        structures.append(load_structure(here if here.exists() else root / f"recipes/alanine_dipeptide/{name}.pdb"))
    start, end = structures
    order = range(len(end.x)) if keep_labels else match(start, end).order
    files = tuple(str(folder / name) if (folder / name).exists() else name for name in files)
    molecule = molecule_of(start.topology, start.x, files, keep_labels=keep_labels)
    return start.topology, molecule, torch.stack((start.x, end.x[list(order)]))


def _noise(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(3))


def _lowest_mode(surface, x):
    """Eigenvalues of differences of forces, and the lowest eigenvector with its longest displacement 1."""
    step, n = 1e-5, x.numel()
    shift = step * torch.eye(n).reshape(n, *x.shape)
    ahead, behind = (surface.energy_gradient(x + sign * shift)[1].reshape(n, n) for sign in (1, -1))
    hessian = ((ahead - behind) / (2 * step)).numpy()
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    mode = torch.from_numpy(vectors[:, 0]).reshape(x.shape)
    return values, mode / mode.norm(dim=1).max()


def _downhill(surface, x):
    def energy_gradient(flat):
        energy, gradient = surface.energy_gradient(torch.from_numpy(flat).reshape(1, *x.shape))
        return float(energy[0]), gradient.flatten().numpy()

    options = {"maxiter": 5000, "maxfun": 20000, "gtol": 1e-2, "ftol": 1e-15, "maxcor": 30}
    return scipy_minimize(energy_gradient, x.flatten().numpy(), jac=True, method="L-BFGS-B", options=options).fun

"""Saddles found again by another program: geomeTRIC's transition state search on the same forces."""

import contextlib
import io

import pytest
import torch

from tpsctl.landscape.coordinates import BondedCoordinates
from tpsctl.landscape.saddle import climb_to_saddles

KJ_PER_HARTREE = 2625.4996394799
NM_PER_BOHR = 0.0529177210903


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
    from geometric.engine import Engine
    from geometric.molecule import Molecule as GeometricMolecule
    from geometric.optimize import run_optimizer

    molecule = GeometricMolecule()
    molecule.elem = [atom.element for atom in topology.atoms]
    molecule.xyzs = [(x * 10).numpy()]

    class ForceField(Engine):
        def calc_new(self, coords, dirname):
            here = torch.from_numpy(coords.reshape(1, -1, 3)) * NM_PER_BOHR
            energy, gradient = surface.energy_gradient(here)
            per_bohr = gradient.flatten().numpy() * NM_PER_BOHR / KJ_PER_HARTREE
            return {"energy": float(energy[0]) / KJ_PER_HARTREE, "gradient": per_bohr}

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        progress = run_optimizer(
            customengine=ForceField(molecule),
            input="saddle.txt",
            transition=True,
            hessian="first",
            coordsys="tric",
            convergence_set="GAU_VERYTIGHT",
        )
    return torch.from_numpy(progress.xyzs[-1]) / 10

"""The simulated molecule: alanine dipeptide from nothing, and structure files."""

import numpy as np
import openmm
import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.geometry import dihedral, signed_volume
from tpsctl.simulation.molecule import build_capped_alanine


def test_capped_alanine_is_l_with_trans_peptide_bonds_at_the_given_phi_and_psi():
    molecule = build_capped_alanine()
    x = torch.from_numpy(molecule.x)
    angles = {label: float(dihedral(x, torch.tensor([atoms]))) for label, atoms in molecule.topology.backbone_dihedrals}
    names = {atom.label: i for i, atom in enumerate(molecule.topology.atoms)}
    n, ca, c, cb = (names[f"A:ALA2:{name}"] for name in ("N", "CA", "C", "CB"))
    # 1e-5 rad: the first atoms are placed with rounded bond vectors in double precision.
    assert np.degrees(angles["phi ALA2"]) == pytest.approx(-80, abs=1e-3)
    assert np.degrees(angles["psi ALA2"]) == pytest.approx(70, abs=1e-3)
    assert abs(np.degrees(angles["omega ALA2"])) == pytest.approx(180, abs=1e-3)
    assert abs(np.degrees(angles["omega NME3"])) == pytest.approx(180, abs=1e-3)
    assert float(signed_volume(x, torch.tensor([[ca, n, c, cb]]))) > 0  # L: looking from H, CO-R-N clockwise


def test_capped_alanine_minimizes_to_c7eq():
    molecule = build_capped_alanine()
    context = openmm.Context(
        create_system(molecule.topology, ("amber99sbildn.xml",)),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(molecule.x)
    openmm.LocalEnergyMinimizer.minimize(context, 0.01)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(-90.9429, abs=1e-3)  # benchmarks/alanine_reference.py; minimizer tolerance


def test_shipped_ends_fit_the_built_molecule(root):
    built = build_capped_alanine()
    methyls = torch.tensor([[0, 1, 2, 3], [11, 12, 13, 14], [18, 19, 20, 21], [8, 6, 10, 11]])
    for name in ("c7eq", "c7ax"):
        end = load_structure(root / f"recipes/alanine_dipeptide/{name}.pdb")
        assert [a.label for a in end.topology.atoms] == [a.label for a in built.topology.atoms]
        assert end.topology.bonds == built.topology.bonds
        winding = [torch.sign(signed_volume(x, methyls)).tolist() for x in (end.x, torch.from_numpy(built.x))]
        assert winding[0] == winding[1]


def test_no_methyl_turns_between_the_shipped_ends(root):
    eq, ax = (load_structure(root / f"recipes/alanine_dipeptide/{n}.pdb").x for n in ("c7eq", "c7ax"))
    turning = torch.tensor([[1, 0, 4, 6], [12, 11, 8, 6], [19, 18, 16, 10]])
    turned = torch.rad2deg(dihedral(ax, turning) - dihedral(eq, turning) + torch.pi) % 360 - 180
    assert turned.abs().max() < 10

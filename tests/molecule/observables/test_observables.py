"""Observables against MDTraj, closed forms, and their own derivatives."""

import math

import mdtraj
import numpy as np
import pytest
import torch

from tpsctl.errors import TpsctlError
from tpsctl.molecule.atom_labels import find_atoms, find_dihedral
from tpsctl.molecule.contacts import find_contacts
from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.observables.base import PointCoordinate, stacked
from tpsctl.molecule.observables.experimental import COUPLINGS, NoeDistance, ScalarCoupling, TransferEfficiency
from tpsctl.molecule.observables.geometric import (
    BondAngle,
    ContactFraction,
    DihedralAngle,
    DihedralCosine,
    Distance,
    RadiusOfGyration,
)
from tpsctl.molecule.topology import Atom, Topology


@pytest.fixture
def frames(alanine, generator):
    """Alanine dipeptide shaken by 0.01 nm."""
    return alanine[1] + 0.01 * torch.randn(6, 22, 3, generator=generator)


@pytest.fixture
def trajectory(alanine, frames):
    return mdtraj.Trajectory(frames.numpy(), _as_mdtraj(alanine[0]))


def _as_mdtraj(topology):
    made = mdtraj.Topology()
    chain, residues, atoms = made.add_chain(), {}, []
    for atom in topology.atoms:
        key = atom.residue
        if key not in residues:
            residues[key] = made.add_residue(atom.residue_name, chain, resSeq=atom.residue_id)
        atoms.append(made.add_atom(atom.name, mdtraj.element.get_by_symbol(atom.element), residues[key]))
    for i, j in topology.bonds:
        made.add_bond(atoms[i], atoms[j])
    return made


@pytest.mark.parametrize(
    ("nuclei", "function"),
    [("HN-HA", "compute_J3_HN_HA"), ("HN-C", "compute_J3_HN_C"), ("HN-CB", "compute_J3_HN_CB")],
)
def test_couplings_are_those_of_mdtraj(alanine, frames, trajectory, nuclei, function):
    phi = find_dihedral(alanine[0], "phi ALA2", where="here")
    found = ScalarCoupling("J", phi, COUPLINGS[nuclei])(frames)
    _, expected = getattr(mdtraj, function)(trajectory, model="Bax2007")
    np.testing.assert_allclose(found.numpy(), expected[:, 0], atol=2e-5)  # MDTraj computes in float32


def test_geometry_is_that_of_mdtraj(alanine, frames, trajectory):
    topology = alanine[0]
    one, two, three, four = find_atoms(topology, ["ACE1:C", "ALA2:N", "ALA2:CA", "ALA2:C"], where="here")
    expected = {
        Distance("d", (one, four)): mdtraj.compute_distances(trajectory, [[one, four]])[:, 0],
        BondAngle("a", (one, two, three)): np.degrees(mdtraj.compute_angles(trajectory, [[one, two, three]])[:, 0]),
        DihedralAngle("p", (one, two, three, four)): np.degrees(mdtraj.compute_phi(trajectory)[1][:, 0]),
        RadiusOfGyration("r", [1.0] * 22): mdtraj.compute_rg(trajectory),  # its weighted one keeps the mean position
    }
    for observable, values in expected.items():
        np.testing.assert_allclose(observable(frames).numpy(), values, rtol=1e-4)


def test_radius_of_gyration_is_weighted_by_mass():
    """Two beads of masses 1 and 3 at distance d: Rg^2 = 3/16 d^2."""
    x = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.8, 0.0]]])
    assert RadiusOfGyration("r", [1.0, 3.0])(x).item() == pytest.approx(0.8 * (3 / 16) ** 0.5)


def test_cosine_and_sine_of_a_dihedral(alanine, frames):
    phi = find_dihedral(alanine[0], ["ACE1:C", "ALA2:N", "ALA2:CA", "ALA2:C"], where="here")
    angle = DihedralAngle("p", phi)(frames).deg2rad()
    torch.testing.assert_close(DihedralCosine("c", phi)(frames), angle.cos())
    torch.testing.assert_close(DihedralCosine("s", phi, -90.0)(frames), angle.sin())


def test_noe_distance_is_reported_as_a_distance():
    x = torch.tensor([[[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.5, 0.0]]])
    noe = NoeDistance("n", [(0, 1), (0, 2)])
    assert noe(x).item() == pytest.approx((0.3**-6 + 0.5**-6) / 2)
    assert noe.shown(noe.averaged(0.35)) == pytest.approx(0.35)
    # error of r is r dF / (6 F), checked by a difference
    step = 1e-4
    slope = (noe.shown(noe.averaged(0.35) + step) - noe.shown(noe.averaged(0.35))) / step
    assert noe.shown_error(noe.averaged(0.35), 1.0) == pytest.approx(abs(slope), rel=1e-4)
    assert noe.averaged_error(0.35, noe.shown_error(noe.averaged(0.35), 2.0)) == pytest.approx(2.0)


def test_transfer_is_half_at_the_foerster_radius():
    x = torch.tensor([[[0.0, 0.0, 0.0], [5.4, 0.0, 0.0]], [[0.0, 0.0, 0.0], [2.7, 0.0, 0.0]]])
    found = TransferEfficiency("E", (0, 1), 5.4)(x)
    assert found.tolist() == pytest.approx([0.5, 64 / 65])


def test_contact_fraction_is_near_one_in_the_native_structure():
    atoms = tuple(Atom("CA", "C", "GLY", k + 1, "A", 57.0) for k in range(8))
    topology = Topology(atoms, tuple((k, k + 1) for k in range(7)))
    angle = torch.arange(8) * 1.7
    native = torch.stack((0.23 * angle.cos(), 0.23 * angle.sin(), 0.15 * torch.arange(8)), 1)
    contacts = find_contacts(topology, native, cutoff_nm=0.8, separation=4)
    assert len(contacts.pairs) >= 3
    found = ContactFraction("Q", contacts)(torch.stack((native, 4 * native)))
    assert found[0] > 0.95
    assert found[1] < 0.05


def test_observables_do_not_see_rigid_motions(alanine, frames, generator):
    phi = find_dihedral(alanine[0], "phi ALA2", where="here")
    observables = [
        ScalarCoupling("J", phi, COUPLINGS["HN-HA"]),
        RadiusOfGyration("r", alanine[0].masses_amu),
        NoeDistance("n", [(0, 9), (1, 9)]),
        BondAngle("a", phi[:3]),
    ]
    moved = superpose(frames, torch.randn(6, 22, 3, generator=generator)) + 3.0
    torch.testing.assert_close(stacked(observables, moved), stacked(observables, frames))


def test_gradients_are_those_of_the_values(alanine, frames):
    phi = find_dihedral(alanine[0], "phi ALA2", where="here")
    for observable in (
        ScalarCoupling("J", phi, COUPLINGS["HN-C"]),
        NoeDistance("n", [(0, 9)]),
        BondAngle("a", phi[:3]),
    ):
        assert torch.autograd.gradcheck(observable, frames[:2].clone().requires_grad_(True), atol=1e-4)


def test_a_coordinate_of_a_point():
    assert PointCoordinate("y", 1)(torch.tensor([[[0.2, 0.7]]])).item() == pytest.approx(0.7)
    assert PointCoordinate("y", 1).label == "y (nm)"
    assert math.isclose(DihedralAngle("p", (0, 1, 2, 3)).period, 360)


def test_unknown_atoms_and_dihedrals_are_named(alanine):
    with pytest.raises(TpsctlError, match=r'guide.observables.0: no atom "ALA2:CX".*It has .*ALA2:N'):
        find_atoms(alanine[0], ["ALA2:CX"], where="guide.observables.0")
    with pytest.raises(TpsctlError, match=r'no dihedral "phi ALA9".*It has: .*phi ALA2'):
        find_dihedral(alanine[0], "phi ALA9", where="here")
    twice = Topology((alanine[0].atoms[0], alanine[0].atoms[0]), ())
    with pytest.raises(TpsctlError, match="names 2 atoms"):
        find_atoms(twice, ["ACE1:" + alanine[0].atoms[0].name], where="here")

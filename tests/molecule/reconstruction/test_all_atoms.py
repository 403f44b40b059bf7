"""Hydrogens, chain ends, side chains that are carried over, and the minimization near the beads."""

import math

import numpy as np
import pytest
import torch

from tpsctl.molecule.amino_acids import amino_acid_centers
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.openmm_system import XmlForceField
from tpsctl.molecule.reconstruction import reconstructor
from tpsctl.molecule.reconstruction.all_atoms import build_molecule, opposite, with_terminal_oxygen
from tpsctl.molecule.reconstruction.continuation import choose_seed, continue_along
from tpsctl.molecule.reconstruction.flicker import flicker
from tpsctl.molecule.reconstruction.relax import BeadRestrainedMinimizer
from tpsctl.validation.amino_acids import ProteinCheck


@pytest.fixture(scope="module")
def made(bending):
    """The molecule of the bending helix, the images as pulchra makes them, and their beads."""
    beads, x = bending
    names = [atom.residue_name for atom in beads.atoms]
    maker = reconstructor("pulchra", seed=0)
    heavy = [maker.reconstruct(names, image.numpy()) for image in x]
    molecule = build_molecule(beads, names, heavy[0], seed=0)
    return molecule, molecule.place(heavy), x


@pytest.fixture(scope="module")
def minimizer(made):
    molecule = made[0]
    system = XmlForceField(("amber14-all.xml",)).create(molecule.topology).system
    return BeadRestrainedMinimizer(system, molecule, platform="Reference")


def test_the_molecule_has_all_hydrogens_and_charged_ends(made):
    atoms = made[0].topology.atoms
    first, last = ({a.name for a in atoms if a.residue_id == number} for number in (1, 8))
    assert {"H", "H2", "H3"} <= first
    assert {"OXT", "HZ1", "HZ2", "HZ3"} <= last
    assert [atoms[i].residue for i in made[0].alpha_carbons] == [
        f"{name}{k}" for k, name in enumerate("ASN LEU TYR ILE GLN TRP LEU LYS".split(), start=1)
    ]


def test_hydrogens_are_at_bond_length_and_away_from_their_neighbors(made):
    molecule, x, _ = made
    for i, atom in enumerate(molecule.topology.atoms):
        if atom.element == "H":
            (parent,) = molecule.topology.neighbors[i]
            length = (x[:, i] - x[:, parent]).norm(dim=-1)
            assert length.min() > 0.08
            assert length.max() < 0.15  # nm; S-H has 0.134, the frames of PULCHRA are distorted a little


def test_hydrogens_of_the_first_image_do_not_move(made):
    molecule, x, _ = made
    centers = {j for c, _ in amino_acid_centers(molecule.topology) for j in molecule.topology.neighbors[c]}
    kept = [i for i in range(molecule.topology.n_atoms) if i not in centers]
    assert (x[0, kept] - molecule.template[kept]).abs().max() < 1e-9


def test_the_hydrogen_of_a_regular_tetrahedron_is_at_its_fourth_corner():
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[:, None]
    order = (0, 1, 2) if torch.linalg.det(corners[:3, 0]) > 0 else (1, 0, 2)
    found = opposite(torch.zeros(1, 3), *(corners[k] for k in order))
    assert torch.allclose(found, 0.109 * corners[3] / math.sqrt(3))
    mirrored = opposite(torch.zeros(1, 3), *(corners[k] for k in (order[1], order[0], order[2])))
    assert torch.allclose(mirrored, -found)


def test_the_second_oxygen_lies_in_the_plane_at_120_degrees():
    ca, c, o = np.array([0.0, 0, 0]), np.array([0.15, 0, 0]), np.array([0.15 + 0.0615, 0.1065, 0])
    oxt = with_terminal_oxygen({"CA": ca, "C": c, "O": o})["OXT"]
    assert oxt == pytest.approx([0.15 + 0.0625, -0.125 * math.sin(math.pi / 3), 0], abs=1e-4)  # O is not quite at 120


def test_side_chains_of_a_moved_copy_stay_where_they_are(made):
    molecule, x, _ = made
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert torch.allclose(molecule.with_side_chains(x[0], x[0] @ turn.T + 3), x[0], atol=1e-9)


def test_carried_side_chains_have_the_torsions_of_the_other_structure(made):
    molecule, x, _ = made
    mixed = molecule.with_side_chains(x[0], x[3])
    names = {(a.residue_id, a.name): i for i, a in enumerate(molecule.topology.atoms)}
    chi2 = torch.tensor([[names[6, n] for n in ("CA", "CB", "CG", "CD1")]])
    assert dihedral(mixed, chi2).item() == pytest.approx(
        dihedral(x[3], chi2).item(), abs=0.15
    )  # rad; CA-CB is distorted
    backbone = [i for (_, n), i in names.items() if n in ("N", "CA", "C", "O", "CB", "H", "HA", "OXT")]
    assert torch.equal(mixed[backbone], x[0, backbone])


def test_minimization_holds_the_beads_and_mends_an_inverted_center(made, minimizer):
    molecule, x, beads = made
    check = ProteinCheck(molecule.topology)
    center, around = amino_acid_centers(molecule.topology)[1]
    broken = x[0].clone()
    n, c, cb = (broken[i] for i in around)
    normal = torch.nn.functional.normalize(torch.linalg.cross(n - broken[center], c - broken[center]), dim=0)
    branch = list(molecule.topology.branch(around[2], without=center))
    depth = (broken[branch] - broken[center]) @ normal
    broken[branch] -= 2 * depth[:, None] * normal  # the side chain is reflected in the plane N-CA-C
    assert check.check(broken[None]).inverted.any()
    after = minimizer.minimize(broken, beads[0])
    found = check.check(after[None])
    assert not found.inverted.any()
    assert not found.cis.any()
    assert not found.clashes.any()
    apart = (after[list(molecule.alpha_carbons)] - beads[0]).norm(dim=-1)
    assert apart.max() < 0.05  # nm


def test_carried_side_chains_flicker_less_than_those_made_image_by_image(made, minimizer):
    molecule, x, beads = made
    count = []
    before, after = continue_along(molecule, minimizer, x, beads, 1, lambda: count.append(1))
    assert len(count) == len(x)
    topology = molecule.topology
    assert flicker(topology, after).mean_nm < 0.6 * flicker(topology, x).mean_nm
    assert torch.equal(before[1], x[1])
    alone = minimizer.minimize(x[1], beads[1])
    assert rmsd(after[1], alone) < 1e-9


def test_the_seed_is_the_most_compact_image_without_faults():
    beads = torch.randn(1, 5, 3) * torch.tensor([3.0, 1.0, 2.0])[:, None, None]
    assert choose_seed(beads, torch.tensor([True, True, True])) == 1
    assert choose_seed(beads, torch.tensor([True, False, True])) == 2
    assert choose_seed(beads, torch.tensor([False, False, False])) == 1

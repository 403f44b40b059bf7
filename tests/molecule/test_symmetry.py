"""Equivalent atoms and handedness from the bond graph and positions."""

import math

import pytest
import torch

from tpsctl.endpoints import load_structure
from tpsctl.molecule.symmetry import StereoCenters, equivalence_classes, refine, stereo_centers
from tpsctl.molecule.topology import Topology

TETRAHEDRON = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)


@pytest.fixture(scope="module")
def peptide(root):
    return load_structure(root / "tests/endpoints/data/peptide_a.pdb")


def test_equivalent_atoms_of_a_peptide(peptide):
    classes = equivalence_classes(peptide.topology)
    of = {(a.residue_name, a.name): classes[i] for i, a in enumerate(peptide.topology.atoms)}
    assert of["PHE", "CD1"] == of["PHE", "CD2"] != of["PHE", "CE1"]
    assert of["ASP", "OD1"] == of["ASP", "OD2"] != of["ASP", "O"]
    assert of["VAL", "CG1"] == of["VAL", "CG2"]
    assert of["VAL", "HG11"] == of["VAL", "HG23"]
    assert of["LYS", "HZ1"] == of["LYS", "HZ3"] != of["LYS", "HE2"]
    assert of["ACE", "CH3"] != of["NME", "C"]


def test_colors_do_not_depend_on_the_order_of_vertices(peptide):
    shuffled = torch.randperm(82, generator=torch.Generator().manual_seed(0)).tolist()
    colors = equivalence_classes(peptide.topology.select(shuffled))
    assert colors == [equivalence_classes(peptide.topology)[i] for i in shuffled]


def test_refinement_of_nothing_and_of_a_ring():
    assert refine([], []) == []
    ring = [[(i - 1) % 6, (i + 1) % 6] for i in range(6)]
    assert len(set(refine(ring, ["C"] * 6))) == 1


def test_determinants_of_a_tetrahedron():
    """All four are 4/(3 sqrt 3) with one sign; the mirror image has the other."""
    center = StereoCenters((0,), ((1, 2, 3, 4),))
    expected = torch.full((1, 4), 4 / (3 * math.sqrt(3)))
    found = center.determinants(TETRAHEDRON)
    assert torch.allclose(found.abs(), expected)
    assert torch.equal(center.determinants(-TETRAHEDRON), -found)
    assert float(center.handedness(-TETRAHEDRON)[0]) == -float(center.handedness(TETRAHEDRON)[0])


def test_exchange_of_two_neighbors_changes_handedness():
    center = StereoCenters((0,), ((1, 2, 3, 4),))
    for i in range(1, 5):
        for j in range(1, i):
            x = TETRAHEDRON.clone()
            x[[i, j]] = x[[j, i]]
            assert float(center.handedness(x)[0]) == -float(center.handedness(TETRAHEDRON)[0])


def test_center_pushed_through_a_face_is_seen_by_one_determinant():
    """The mean keeps its sign, but one of four has crossed zero."""
    center = StereoCenters((0,), ((1, 2, 3, 4),))
    x = TETRAHEDRON.clone()
    x[0] = -0.6 * x[1]  # beyond the plane of the other three, at -x[1] / 3
    wanted = center.handedness(TETRAHEDRON)
    assert float(center.handedness(x)[0]) == float(wanted[0])
    assert float((center.determinants(x) * wanted).amin()) < 0


def test_no_centers_give_empty_tensors():
    none = StereoCenters((), ())
    assert none.determinants(torch.zeros(5, 3, 3)).shape == (5, 0, 4)


def test_planar_carbons_are_no_centers_but_pyramidal_ones_are(peptide):
    heavy = [i for i, a in enumerate(peptide.topology.atoms) if a.element != "H"]
    molecule: Topology = peptide.topology.select(heavy)
    found = stereo_centers(molecule, peptide.x[None, heavy])
    names = {(molecule.atoms[i].residue_name, molecule.atoms[i].name) for i in found.atoms}
    assert names == {("VAL", "CA"), ("VAL", "CB"), ("PHE", "CA"), ("ASP", "CA"), ("LYS", "CA")}

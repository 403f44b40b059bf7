"""The absolute checks: every fault that is made in a sound peptide is found, with its residue."""

from pathlib import Path

import pytest
import torch

from tpsctl.endpoints.load import load_structures
from tpsctl.validation.amino_acids import ProteinCheck

PEPTIDE = Path(__file__).parent / "data" / "ace_ala_ala_nme_path.pdb"


@pytest.fixture(scope="module")
def peptide():
    images = load_structures(PEPTIDE)
    return images[0].topology, torch.stack([image.x for image in images]).double()


def at(topology, residue, name):
    return next(i for i, a in enumerate(topology.atoms) if (a.residue, a.name) == (residue, name))


def test_a_path_of_l_amino_acids_has_no_fault(peptide):
    topology, x = peptide
    found = ProteinCheck(topology).check(x)
    assert found.image_passes.all()
    assert found.words == []
    assert found.inverted.shape[1] == 2


def test_the_mirror_image_has_d_amino_acids_only(peptide):
    topology, x = peptide
    found = ProteinCheck(topology).check(x * torch.tensor([1.0, 1.0, -1.0]))
    assert found.inverted.all()
    assert not found.cis.any()


@pytest.mark.parametrize("residue", ["ALA2", "ALA3"])
@pytest.mark.parametrize("image", [0, 2])
def test_one_inverted_center_is_named(peptide, residue, image):
    topology, x = peptide
    broken = x.clone()
    ca, n, c, cb = (at(topology, residue, name) for name in ("CA", "N", "C", "CB"))
    normal = torch.linalg.cross(x[image, n] - x[image, ca], x[image, c] - x[image, ca])
    normal = normal / normal.norm()
    broken[image, cb] -= 2 * ((x[image, cb] - x[image, ca]) @ normal) * normal
    found = ProteinCheck(topology).check(broken)
    assert found.inverted.sum() == 1
    assert any(words.startswith(f"image {image}: ") and f"{residue}:CA has the wrong" in words for words in found.words)
    assert not found.image_passes[image]


def test_a_cis_bond_is_named(peptide):
    topology, x = peptide
    broken = x.clone()
    ca, c, n = (at(topology, residue, name) for residue, name in (("ALA2", "CA"), ("ALA2", "C"), ("ALA3", "N")))
    axis = (x[1, n] - x[1, c]) / (x[1, n] - x[1, c]).norm()
    behind = list(topology.branch(n, without=c))
    arm = x[1, behind] - x[1, c]
    along = (arm @ axis)[:, None] * axis
    broken[1, behind] = x[1, c] + along - (arm - along)  # half a turn about C-N
    found = ProteinCheck(topology).check(broken)
    assert found.cis.nonzero().tolist() == [[1, 1]]
    assert any("image 1: omega ALA3 is cis" in words for words in found.words)
    assert ca not in behind


def test_atoms_on_each_other_are_counted_and_not_a_number_is_no_pass(peptide):
    topology, x = peptide
    broken = x.clone()
    broken[0, at(topology, "ALA3", "HB1")] = broken[0, at(topology, "ACE1", "CH3")] + 0.05
    broken[1, at(topology, "ALA2", "CA")] = torch.nan
    found = ProteinCheck(topology).check(broken)
    assert found.clashes[0] >= 1
    assert not found.image_passes[0]
    assert not found.image_passes[1]

"""Ends and prior: the same beads, in any order, with any labels of equivalent hydrogens."""

import pytest
import torch

from tpsctl.endpoints import load_structure
from tpsctl.endpoints.fit import bead_order, winding_order
from tpsctl.errors import EndpointError
from tpsctl.molecule.symmetry import stereo_centers


@pytest.fixture(scope="module")
def ends(root):
    return load_structure(root / "recipes/alanine_dipeptide/c7eq.pdb")


@pytest.fixture(scope="module")
def peptide(root):
    return load_structure(root / "tests/endpoints/data/peptide_a.pdb")


def beads(topology, keep):
    return topology.select([i for i, atom in enumerate(topology.atoms) if keep(atom)])


def test_order_of_the_prior_is_found(ends):
    shuffled = torch.randperm(22, generator=torch.Generator().manual_seed(1)).tolist()
    assert bead_order(ends.topology, ends.topology.select(shuffled), name="the prior") == shuffled
    assert bead_order(ends.topology, ends.topology, name="the prior") == list(range(22))


def test_alpha_carbons_for_an_all_atom_prior(peptide):
    alpha = beads(peptide.topology, lambda atom: atom.name == "CA")
    message = r"the prior has 82 beads, the ends have 4: the ends hold C-alpha atoms only, the prior is all-atom. Give"
    with pytest.raises(EndpointError, match=message):
        bead_order(alpha, peptide.topology, name="the prior")


def test_all_atoms_for_an_alpha_carbon_prior(peptide):
    alpha = beads(peptide.topology, lambda atom: atom.name == "CA")
    with pytest.raises(
        EndpointError, match=r'the ends have 82: the prior is of C-alpha .* Set endpoints.select: "name CA"'
    ):
        bead_order(peptide.topology, alpha, name="the prior")


def test_missing_hydrogens(ends):
    heavy = beads(ends.topology, lambda atom: atom.element != "H")
    with pytest.raises(
        EndpointError, match=r"22 beads, the ends have 10: 12 hydrogens are missing in the ends. Add them"
    ):
        bead_order(heavy, ends.topology, name="the prior")


def test_another_molecule(ends, peptide):
    with pytest.raises(EndpointError, match=r"22 beads, the ends have 82 \(first mismatch: the prior has A:ALA2:N\)"):
        bead_order(peptide.topology, ends.topology, name="the prior")


def test_winding_that_the_prior_does_not_know_is_exchanged(ends):
    """A prior whose methyls wind the other way strains at the ends until two hydrogens are exchanged."""
    centers = stereo_centers(ends.topology, ends.x[None])
    names = [(a.residue_name, a.name) for a in ends.topology.atoms]
    i, j = names.index(("ALA", "HB1")), names.index(("ALA", "HB3"))
    wanted = centers.handedness(ends.x[[{i: j, j: i}.get(k, k) for k in range(22)]])

    def score(x):
        return 100 * (centers.handedness(x) - wanted) + 1

    x = torch.stack([ends.x, ends.x])
    order = winding_order(ends.topology, x, score, range(22))
    assert torch.equal(centers.handedness(ends.x[order]), wanted)
    unchanged = winding_order(ends.topology, x, lambda y: y, range(22))
    assert unchanged == list(range(22))

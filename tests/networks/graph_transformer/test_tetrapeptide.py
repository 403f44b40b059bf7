"""Heavy atoms of tetrapeptides on their places."""

import pytest
import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.graph_transformer.tetrapeptide import place_names, tetrapeptide_beads


def peptide(residues, *, names=None):
    atoms = []
    for k, residue in enumerate(residues, 1):
        for name in names or reversed(place_names(residue)):  # files need not follow the order of the places
            atoms.append(Atom(name, name[0], residue, k, "A", 12.0))
    return Topology(tuple(atoms), ())


def test_places_and_types_follow_names_not_file_order():
    beads = tetrapeptide_beads(peptide(["GLY", "ALA", "TYR", "TRP"]))
    order = torch.argsort(beads.slots)
    # GAYW of the golden data: places 0-3, 14-18, 28-39, 42-55
    assert beads.slots[order].tolist() == [*range(4), *range(14, 19), *range(28, 40), *range(42, 56)]
    assert beads.types[order].tolist() == [7, 6, 6, 8, 7, 6, 6, 8, 6, 7, 6, 6, 8] + [6] * 7 + [8, 7, 6, 6, 8] + [
        6, 6, 6, 6, 7, 6, 6, 6, 6, 6,
    ]  # fmt: skip


def test_protonation_states_share_their_residue():
    assert place_names("HIE") == place_names("HIS")
    assert len({len(place_names(name)) <= 14 for name in ("TRP", "ARG")}) == 1


@pytest.mark.parametrize(
    ("topology", "why"),
    [
        (peptide(["GLY", "ALA", "TYR"]), "in 3 residues"),
        (peptide(["GLY"] * 5), r"the ends have GLY5|the ends have A:GLY5"),
        (peptide(["GLY"] * 4, names=["N", "CA", "C"]), "complete the structures"),
        (peptide(["GLY"] * 4, names=["N", "CA", "C", "O", "OXT"]), "no OXT"),
        (peptide(["ACE", "ALA", "ALA", "ALA"], names=["C"]), "heavy atoms of tetrapeptides"),
    ],
)
def test_other_molecules_are_refused(topology, why):
    with pytest.raises(PriorError, match=why):
        tetrapeptide_beads(topology)

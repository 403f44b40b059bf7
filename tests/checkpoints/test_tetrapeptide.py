"""Heavy atoms of tetrapeptides on their places."""

import pytest
import torch

from tpsctl.networks.graph_transformer.tetrapeptide import place_names, tetrapeptide_beads
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology


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


def test_golden_types(golden_folder):
    import numpy as np

    z = np.load(golden_folder / "tetra_diff" / "golden.npz")["z"]
    beads = tetrapeptide_beads(peptide(["GLY", "ALA", "TYR", "TRP"]))
    assert torch.equal(torch.tensor(z)[beads.slots].long(), beads.types)
    assert len(beads.slots) == int((z != 0).sum())


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


def test_difference_between_our_and_the_published_treatment(golden_folder):
    """What `compat` is about, measured on the golden tetrapeptide: 16 % of the score (random weights)."""
    import numpy as np

    from tpsctl.checkpoints.layouts.recognize import read_published
    from tpsctl.checkpoints.model import build
    from tpsctl.networks.graph_transformer.network import Beads

    model = read_published(golden_folder / "tetra_diff")
    arrays = np.load(golden_folder / "tetra_diff" / "golden.npz")
    types = torch.tensor(arrays["z"]).long()
    real = types != 0
    x = torch.tensor(arrays["x_angstrom"]) / 10
    published = build(model, compat=True, beads=Beads(torch.arange(56), types, real))
    ours = build(model, beads=Beads(torch.arange(56)[real], types[real]))
    for prior in (published, ours):
        prior.to(device="cpu", dtype=torch.float64)
    theirs, own = published.at(0.02)(x)[:, real], ours.at(0.02)(x[:, real])
    difference = float((theirs - own).norm() / theirs.norm())

    assert 0.1 < difference < 0.2
    assert own.sum(1).abs().max() < 1e-8 * own.abs().max()

"""Beads of tetrapeptides in the published data, and what the published treatment of padding makes of a score."""

import numpy as np
import torch

from tpsctl.checkpoints.architectures.graph_transformer import graph_transformer
from tpsctl.checkpoints.architectures.in_network_units import prior_of
from tpsctl.checkpoints.layouts.registry import read_published
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.graph_transformer.network import Beads
from tpsctl.networks.graph_transformer.tetrapeptide import place_names, tetrapeptide_beads
from tpsctl.prior.fields.graph_transformer import GraphTransformerField


def test_types_of_the_golden_tetrapeptide(golden_folder):
    z = np.load(golden_folder / "tetra_diff" / "golden.npz")["z"]
    residues = enumerate(["GLY", "ALA", "TYR", "TRP"], 1)
    atoms = [Atom(name, name[0], residue, k, "A", 12.0) for k, residue in residues for name in place_names(residue)]
    beads = tetrapeptide_beads(Topology(tuple(atoms), ()))
    assert torch.equal(torch.tensor(z)[beads.slots].long(), beads.types)
    assert len(beads.slots) == int((z != 0).sum())


def test_difference_between_our_and_the_published_treatment(golden_folder):
    """What `compat` is about, measured on the golden tetrapeptide: 16 % of the score (random weights)."""
    model = read_published(golden_folder / "tetra_diff")
    arrays = np.load(golden_folder / "tetra_diff" / "golden.npz")
    types = torch.tensor(arrays["z"]).long()
    real = types != 0
    x = torch.tensor(arrays["x_angstrom"]) / 10
    network = graph_transformer(model)
    padded = GraphTransformerField(network, Beads(torch.arange(56), types, real), compat=True)
    published = prior_of(model, padded)
    ours = prior_of(model, GraphTransformerField(network, Beads(torch.arange(56)[real], types[real])))
    for prior in (published, ours):
        prior.to(device="cpu", dtype=torch.float64)
    theirs, own = published.at(0.02)(x)[:, real], ours.at(0.02)(x[:, real])
    difference = float((theirs - own).norm() / theirs.norm())

    assert 0.1 < difference < 0.2
    assert own.sum(1).abs().max() < 1e-8 * own.abs().max()

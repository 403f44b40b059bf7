"""`TransformerEnergy` in checkpoints."""

from typing import Any

import torch

from tpsctl.checkpoints.architectures.in_nm import EnergyArchitecture
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import fitted_count
from tpsctl.networks.chain_energy.transformer import TransformerEnergy, TransformerEnergySizes
from tpsctl.prior.fields.transformer_energy import TransformerEnergyField


class TransformerEnergyArchitecture(EnergyArchitecture):
    """Stores an energy of a graph transformer in a checkpoint, and makes a prior of it."""

    name = "transformer_energy"

    def sizes(self, numbers: dict[str, int]) -> dict[str, Any]:
        return TransformerEnergySizes(**numbers).to_dict()

    def network(self, model: Model, topology: Topology) -> TransformerEnergy:
        sizes = TransformerEnergySizes(**model.description.sizes)
        if not topology.torsions:
            raise PriorError("the bonds in the model card form no chain of four beads.")
        _require_shapes(sizes, topology, model)
        return TransformerEnergy(topology, sizes)

    def field(self, network: TransformerEnergy, n_beads: int, smallest_width: float) -> TransformerEnergyField:
        return TransformerEnergyField(network, n_beads, smallest_width=smallest_width)


def _require_shapes(sizes: TransformerEnergySizes, topology: Topology, model: Model) -> None:
    """Refuse sizes that the tensors do not have, before memory is allocated for them."""
    empty = torch.empty(0, 0)
    weights = model.weights
    table = weights.get("pairs.coefficients", empty)
    nodes = weights.get("transformer.node_embedding.weight", empty)
    queries = weights.get("transformer.blocks.0.attention.to_q.weight", empty)
    layers = sum(name.endswith(".attention.to_q.weight") for name in weights)
    pairs = fitted_count(topology, sizes.fitted)
    found = (*table.shape, *nodes.shape, *queries.shape, layers)
    inner = sizes.heads * sizes.head_dim
    stated = (
        *(sizes.levels, pairs, 2 + sizes.gaussians),
        *(sizes.hidden, topology.n_atoms + 1, inner, sizes.hidden),
        sizes.layers,
    )
    if found != stated:
        raise PriorError(
            "tensors do not fit the model card: levels, pairs and angles, terms of each, hidden, inputs, heads x width,"
            f" hidden, blocks are {stated} in the card and {found} in the tensors, for {topology.n_atoms} beads."
        )

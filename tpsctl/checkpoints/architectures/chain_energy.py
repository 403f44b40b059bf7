"""`ChainEnergy` in checkpoints."""

from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.architectures.in_nm import EnergyArchitecture
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import fitted_count
from tpsctl.networks.chain_energy.network import ChainEnergy, ChainEnergySizes
from tpsctl.prior.fields.chain_energy import ChainEnergyField


class ChainEnergyArchitecture(EnergyArchitecture):
    """Stores an energy of a chain of beads in a checkpoint, and makes a prior of it."""

    name = "chain_energy"

    def sizes(self, numbers: dict[str, int]) -> dict[str, Any]:
        return ChainEnergySizes(**numbers).to_dict()

    def network(self, model: Model, topology: Topology) -> ChainEnergy:
        sizes = ChainEnergySizes(**model.description.sizes)
        if not topology.torsions:
            raise PriorError("the bonds in the model card form no chain of four beads.")
        _require_shapes(sizes, topology, model.weights)
        return ChainEnergy(topology, sizes)

    def field(self, network: ChainEnergy, n_beads: int, smallest_width: float) -> ChainEnergyField:
        return ChainEnergyField(network, n_beads, smallest_width=smallest_width)


def _require_shapes(sizes: ChainEnergySizes, topology: Topology, tensors: dict[str, Tensor]) -> None:
    """Refuse sizes that the tensors do not have, before memory is allocated for them."""
    empty = torch.empty(0, 0)
    table, output = tensors.get("pairs.coefficients", empty), tensors.get("net.output.weight", empty)
    layers = sum(name.startswith("net.layers.") and name.endswith(".weight") for name in tensors)
    found = (*table.shape, *output.shape, layers)
    pairs = fitted_count(topology, sizes.fitted)
    stated = (sizes.levels, pairs, 2 + sizes.gaussians, sizes.hidden, sizes.embedding, sizes.layers)
    if found != stated:
        raise PriorError(
            "tensors do not fit the model card: levels, pairs and angles, terms of each, hidden, embedding, layers are "
            f"{stated} in the card and {found} in the tensors, for {topology.n_atoms} beads."
        )

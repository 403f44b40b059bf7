"""`InternalEnergy` in checkpoints."""

from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.architectures.in_nm import EnergyArchitecture
from tpsctl.checkpoints.model import Model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.prior.fields.internal_energy import InternalEnergyField


class InternalEnergyArchitecture(EnergyArchitecture):
    """Stores an energy of internal coordinates in a checkpoint, and makes a prior of it."""

    name = "internal_energy"

    def sizes(self, numbers: dict[str, int]) -> dict[str, Any]:
        return InternalEnergySizes(**numbers).to_dict()

    def network(self, model: Model, topology: Topology) -> InternalEnergy:
        sizes = InternalEnergySizes(**model.description.sizes)
        _require_shapes(sizes, topology.n_atoms, model.weights)
        return InternalEnergy(topology, sizes)

    def field(self, network: InternalEnergy, n_beads: int, smallest_width: float) -> InternalEnergyField:
        return InternalEnergyField(network, n_beads, smallest_width=smallest_width)


def _require_shapes(sizes: InternalEnergySizes, n_atoms: int, tensors: dict[str, Tensor]) -> None:
    """Refuse sizes that the tensors do not have, before memory is allocated for them."""
    empty = torch.empty(0, 0)
    table, output = tensors.get("mean", empty), tensors.get("net.output.weight", empty)
    layers = sum(name.startswith("net.layers.") and name.endswith(".weight") for name in tensors)
    found = (*table.shape[:1], *output.shape, layers)
    stated = (sizes.levels, sizes.hidden, sizes.embedding, sizes.layers)
    if found != stated or table.dim() != 2 or table.shape[1] < n_atoms * (n_atoms - 1) // 2:
        raise PriorError(
            f"tensors do not fit the model card: levels, hidden, embedding, layers are {stated} in the card and "
            f"{found} in the tensors, for {n_atoms} atoms."
        )

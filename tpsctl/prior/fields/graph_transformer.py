"""A graph transformer and the beads it is used for, as a field."""

import torch
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.networks.graph_transformer.frozen import FrozenGraphTransformer
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, descent
from tpsctl.prior.field import Field


class GraphTransformerField(Field):
    """The output of a graph transformer: -dE/dy of the sum of all beads' energies, or its vector for each bead.

    Args:
        network: The network; the field copies its present weights.
        beads: The beads of a configuration.
        compat: Whether to do as the published code does: keep padding beads, and differentiate with respect to
            centered positions. This is for comparisons only, because padding and a net force then affect the output
            at the real beads.
    """

    network: FrozenGraphTransformer
    n_dims = 3
    centered = True

    def __init__(self, network: GraphTransformer, beads: Beads, *, compat: bool = False) -> None:
        self.network = FrozenGraphTransformer(network)
        self.beads = beads
        self._compat = compat
        self.n_beads = len(beads.slots)
        self.conservative = network.sizes.outputs == 1 and not (compat and network.sizes.positions)

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        return descent(self.network, y, y.new_full((1,), clock), self.beads, compat=self._compat)

    def energy(self, y: Tensor, clock: float) -> Tensor | None:
        if self.network.sizes.outputs != 1:
            return None
        return self.network(center(y), y.new_full((1,), clock), self.beads).sum((1, 2))

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        super().to(device=device, dtype=dtype)
        self.beads = self.beads.to(device)

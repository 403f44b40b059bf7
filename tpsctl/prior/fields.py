"""The published networks as fields (see `prior`): how each is called, and for which beads."""

import torch
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, descent
from tpsctl.networks.perceptron import Perceptron
from tpsctl.prior.published import Field


class MoleculeField(Field):
    """A graph transformer and the beads it is used for.

    Args:
        network: The network.
        beads: The beads of a configuration.
        compat: Do as the published code does: carry padding along, and differentiate with respect to centered
            positions. For comparisons only; padding and a net force then leak into the real beads.
    """

    n_dims = 3
    centered = True

    def __init__(self, network: GraphTransformer, beads: Beads, *, compat: bool = False) -> None:
        self.network = network.eval()
        self.beads = beads
        self._compat = compat
        self.n_beads = len(beads.slots)
        self.conservative = network.sizes.outputs == 1 and not (compat and network.sizes.positions)

    def __call__(self, y: Tensor, time: float) -> Tensor:
        return descent(self.network, y, y.new_full((1,), time), self.beads, compat=self._compat)

    @property
    def like(self) -> Tensor:
        return next(self.network.parameters())

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        self.network.to(device=device, dtype=dtype)
        self.beads = self.beads.to(device)

    def energy(self, y: Tensor, time: float) -> Tensor | None:
        if self.network.sizes.outputs != 1:
            return None
        return self.network(center(y), y.new_full((1,), time), self.beads).sum((1, 2))


class PointField(Field):
    """A perceptron that moves one point in a model potential."""

    n_beads = 1
    conservative = False
    centered = False

    def __init__(self, network: Perceptron) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_dims = network.sizes.dims

    def __call__(self, y: Tensor, time: float) -> Tensor:
        return self.network(y.squeeze(1), y.new_full((len(y),), time)).unsqueeze(1)

    @property
    def like(self) -> Tensor:
        return next(self.network.parameters())

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        self.network.to(device=device, dtype=dtype)

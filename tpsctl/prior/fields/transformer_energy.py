"""The negative gradient of a `TransformerEnergy` as a field, with the transformer's weights frozen."""

import torch
from torch import Tensor

from tpsctl.networks.chain_energy.transformer import BeadTransformerEnergy
from tpsctl.networks.graph_transformer.frozen import FrozenGraphTransformer
from tpsctl.prior.fields.energy import EnergyField


class TransformerEnergyField(EnergyField):
    """The field of a transformer energy; second derivatives of the transformer are written by hand.

    Args:
        network: The energy; the field copies the present weights of its transformer.
        n_beads: Number of beads of its chain.
        smallest_width: Smallest noise width of its training, nm.
    """

    network: BeadTransformerEnergy
    one_thread = False
    corrections = 2

    def __init__(self, network: BeadTransformerEnergy, n_beads: int, *, smallest_width: float) -> None:
        self.network = network.eval().requires_grad_(False)
        self._frozen = FrozenGraphTransformer(network.trained)
        self.n_beads, self.smallest_width = n_beads, smallest_width

    def energy(self, y: Tensor, clock: float) -> Tensor:
        sigma = y.new_full((1,), clock)
        return self.network.base(y, sigma) + self.network.residual_of(self._frozen, y, sigma)

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        super().to(device=device, dtype=dtype)
        self._frozen.to(device=device, dtype=dtype)

    @property
    def like(self) -> Tensor:
        return next(self._frozen.parameters())

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._frozen.parameters())

    @property
    def largest_width(self) -> float:
        return self.network.largest_width

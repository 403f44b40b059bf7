"""The negative gradient of a `ChainEnergy` as a field."""

from typing import Any

import torch
from torch import Tensor

from tpsctl.networks.chain_energy.hessian import chain_hessian
from tpsctl.networks.chain_energy.network import ChainEnergy, ChainTables
from tpsctl.prior.fields.energy import EnergyField

_JACOBIAN_CHUNK = {"cpu": 50, "cuda": 2000}
"""Configurations whose Hessians are computed together, as for internal energies."""


class ChainEnergyField(EnergyField):
    """The field of a chain energy.

    Args:
        network: The energy.
        n_beads: Number of beads of its chain.
        smallest_width: Smallest noise width of its training, nm.
    """

    network: ChainEnergy
    corrections = 2

    def __init__(self, network: ChainEnergy, n_beads: int, *, smallest_width: float) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_beads, self.smallest_width = n_beads, smallest_width
        self._last: tuple[Any, ChainTables] | None = None

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        """The field; in closed form, in half the time of autograd, where no derivative of it is wanted."""
        if y.requires_grad:
            return super().__call__(y, clock)
        return -self.network.gradient(y, self._tables(y, clock))

    def energy(self, y: Tensor, clock: float) -> Tensor:
        return self.network(y, y.new_full((1,), clock))

    def _tables(self, y: Tensor, clock: float) -> ChainTables:
        """The tables of this noise width; those of the last one are kept, because most paths use one for long."""
        key = (clock, y.dtype, y.device)
        if self._last is None or self._last[0] != key:
            self._last = (key, self.network.tables(y.new_full((1,), clock)))
        return self._last[1]

    def jacobian(self, y: Tensor, clock: float) -> Tensor:
        """Dense Jacobian in closed form (see `chain_hessian`), which saves one network call per column."""
        parts = y.detach().split(_JACOBIAN_CHUNK[y.device.type])
        return torch.cat([-chain_hessian(self.network, part, clock) for part in parts])

    @property
    def largest_width(self) -> float:
        return self.network.largest_width

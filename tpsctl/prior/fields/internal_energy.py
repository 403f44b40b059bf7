"""The negative gradient of an `InternalEnergy` as a field."""

import torch
from torch import Tensor

from tpsctl.networks.internal_energy.hessian import hessian
from tpsctl.networks.internal_energy.network import InternalEnergy
from tpsctl.prior.fields.energy import EnergyField

_JACOBIAN_CHUNK = {"cpu": 50, "cuda": 2000}
"""Configurations whose Hessians are computed together: smaller chunks cost more calls, and the matrices of larger
chunks do not fit into a CPU's cache."""


class InternalEnergyField(EnergyField):
    """The field of an internal energy.

    Args:
        network: The energy.
        n_beads: Number of atoms of its molecule.
        smallest_width: Smallest noise width of its training, nm.
    """

    network: InternalEnergy

    def __init__(self, network: InternalEnergy, n_beads: int, *, smallest_width: float) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_beads, self.smallest_width = n_beads, smallest_width

    def energy(self, y: Tensor, clock: float) -> Tensor:
        return self.network(y, torch.full((1,), clock, dtype=y.dtype, device=y.device))

    def jacobian(self, y: Tensor, clock: float) -> Tensor:
        """Dense Jacobian in closed form (see `hessian`), which saves one network call per column."""
        parts = y.detach().split(_JACOBIAN_CHUNK[y.device.type])
        return torch.cat([-hessian(self.network, part, clock).detach() for part in parts])

    @property
    def largest_width(self) -> float:
        return float(self.network.linear.log_sigmas[-1].exp())

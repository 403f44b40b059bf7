"""Priors that are a potential energy: score = -grad U / kT. They have no noise, so t must be 0."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.prior.base import Prior
from tpsctl.prior.potentials import NamedPotential
from tpsctl.score.base import AutogradScore, Score
from tpsctl.units import thermal_energy


class PotentialPrior(Prior):
    """A differentiable potential energy as a prior.

    Args:
        temperature_k: Temperature of the equilibrium, K.
    """

    temperature_k: float
    conservative = True
    one_thread = True

    def __init__(self, *, temperature_k: float) -> None:
        self.temperature_k = temperature_k
        self.potential = NamedPotential(self.kind, self.energy)
        self._kt = thermal_energy(temperature_k)

    @abstractmethod
    def energy(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, " batch"]:
        """Potential energies of configurations x (nm), kJ/mol; differentiable."""

    def at(self, t: float) -> Score:
        require_no_noise(self.kind, t)
        return AutogradScore(self._score)

    def log_density(self, x: Tensor, t: float) -> Tensor:
        require_no_noise(self.kind, t)
        return -self.energy(x) / self._kt

    def _score(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_(True)
            return -torch.autograd.grad(self.energy(y).sum(), y, create_graph=True)[0] / self._kt


def require_no_noise(kind: str, t: float) -> None:
    """Refuse any diffusion time but 0, because a force field has no noise.

    Raises:
        PriorError: t is not 0.
    """
    if t != 0:
        raise PriorError(f'prior "{kind}" is a force field: got diffusion_time {t}, expected 0.')

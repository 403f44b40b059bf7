"""The Mueller-Brown surface as a prior: one bead in two dimensions, score and Jacobian in closed form."""

import torch
from torch import Tensor

from tpsctl.prior.potential import PotentialPrior, require_no_noise
from tpsctl.prior.potentials import mueller_brown, mueller_brown_derivatives
from tpsctl.score.base import Score, VectorProduct


class MuellerBrownPrior(PotentialPrior):
    """One bead on the Mueller-Brown surface of `potentials.mueller_brown`."""

    kind = "mueller_brown"
    n_beads = 1
    n_dims = 2

    def energy(self, x: Tensor) -> Tensor:
        return mueller_brown(x)

    def at(self, t: float) -> Score:
        require_no_noise(self.kind, t)
        return _MuellerBrownScore(self._kt)


class _MuellerBrownScore(Score):
    """-grad U / kT from closed forms; autograd's function calls would take longer than the arithmetic."""

    def __init__(self, kt: float) -> None:
        self._kt = kt

    def __call__(self, x: Tensor) -> Tensor:
        return mueller_brown_derivatives(x)[0] / -self._kt

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        gradient, hessian = mueller_brown_derivatives(x)
        jacobian = hessian / -self._kt
        return gradient / -self._kt, lambda v: torch.bmm(v, jacobian)  # J is symmetric

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return torch.bmm(v, self.jacobian(x))

    def jacobian(self, x: Tensor) -> Tensor:
        return mueller_brown_derivatives(x)[1] / -self._kt

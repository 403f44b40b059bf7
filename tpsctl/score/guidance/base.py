"""Guidance: a term h that is added to the score of noised data, so that samples are drawn from another ensemble.

With y data plus noise of width s, the guided reverse process follows score(y, s) + h(y, s) instead of the score. Every
h here is the gradient of a scalar, and it is made in one of two ways of a function Phi of clean configurations:

    noised      h = a(s) grad Phi(y)                            Phi of the noised configuration itself
    denoised    h = a(s) grad Phi(x(y)) ,  x = y + s^2 score     Phi of the posterior mean of the clean one

The second one is exact where the data are Gaussian and Phi is linear, because then the guided score is that of the
data tilted by exp(Phi). The first one needs no derivative of the score, so it can also guide the probability-flow ODE
and the paths of an action (`GuidedScore`); a(s) has to fade it out at large noise, where Phi(y) says nothing.

Everything is in the length unit of the score.

Source: arXiv:2505.13375 (noised, with a(t) = a exp(-b t)); Chung et al., arXiv:2209.14687, eq. 11 (denoised).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.base import AutogradScore, Score, VectorProduct

Strength = Callable[[float], float]
"""Noise width to the dimensionless factor a of the guidance."""

_VARIANCES = 10.0
"""Largest Cov(x | y) that is taken for right, in the largest variance of clean data."""

Tilt = Callable[[Tensor], Tensor]
"""Phi: clean configurations (batch, bead, dim) to log-weights (batch,), dimensionless, differentiable."""


class Guide(ABC):
    """A term that is added to the score."""

    @abstractmethod
    def guided(
        self, score: Score, y: Float[Tensor, "batch bead dim"], width: float
    ) -> tuple[Float[Tensor, "batch bead dim"], Float[Tensor, "batch bead dim"]]:
        """The score at y, and the term h there, both in the inverse of the length unit."""


class PotentialGuide(Guide):
    """A guide whose term is the gradient of a known function of y and the width, whatever the score."""

    @abstractmethod
    def potential(self, y: Float[Tensor, "batch bead dim"], width: float) -> Float[Tensor, " batch"]:
        """The function whose gradient is h, dimensionless; differentiable by y."""

    def at(self, width: float) -> Score:
        """The term h at a noise width as a score."""

        def gradient(y: Tensor) -> Tensor:
            with torch.enable_grad():
                z = y if y.requires_grad else y.detach().requires_grad_(True)
                total = self.potential(z, width).sum()
                if not total.requires_grad:
                    return torch.zeros_like(z)
                return torch.autograd.grad(total, z, create_graph=y.requires_grad)[0]

        return AutogradScore(gradient)

    def guided(self, score: Score, y: Tensor, width: float) -> tuple[Tensor, Tensor]:
        return score(y), self.at(width)(y)


class NoGuide(PotentialGuide):
    """No guidance: h = 0."""

    def potential(self, y: Tensor, width: float) -> Tensor:
        return y.new_zeros(len(y))


class NoisedGuide(PotentialGuide):
    """h = a(s) grad Phi(y).

    Args:
        tilt: Phi.
        strength: a(s).
    """

    def __init__(self, tilt: Tilt, strength: Strength) -> None:
        self._tilt, self._strength = tilt, strength

    def potential(self, y: Tensor, width: float) -> Tensor:
        return self._strength(width) * self._tilt(y)


class DenoisedGuide(Guide):
    """h = a(s) grad Phi(y + s^2 score(y)), by one product with the Jacobian of the score.

    That Jacobian is 1 + s^2 grad score = Cov(x | y) / s^2, which is small at wide noise, where it is the difference of
    two numbers near 1. What a network has wrong there is multiplied by s^2, and would take nearly all of the work. But
    the covariance of clean x is at least the mean of Cov(x | y), so that no h is let through which is longer than ten
    times the largest variance of clean data over s^2 allows. An exact score reaches this only where y lies between
    two parts of the data, one of which is rare.

    Args:
        tilt: Phi.
        strength: a(s).
        variance: Largest variance of clean data in any direction, in the square of the length unit; None for no bound.
    """

    def __init__(self, tilt: Tilt, strength: Strength, variance: float | None = None) -> None:
        self._tilt, self._strength, self._variance = tilt, strength, variance

    def guided(self, score: Score, y: Tensor, width: float) -> tuple[Tensor, Tensor]:
        found, vjp = score.with_vjp(y)
        with torch.enable_grad():
            clean = (y + width**2 * found).detach().requires_grad_(True)
            (pull,) = torch.autograd.grad(self._tilt(clean).sum(), clean)
        pull = _where_defined(pull)
        return found, self._strength(width) * self._bounded(pull + width**2 * vjp(pull), pull, width)

    def _bounded(self, pulled: Tensor, pull: Tensor, width: float) -> Tensor:
        """The gradient by y, no longer than the largest variance of the data allows."""
        if self._variance is None:
            return pulled
        most = _VARIANCES * self._variance / width**2 * pull.flatten(1).norm(dim=1)
        length = pulled.flatten(1).norm(dim=1).clamp_min(torch.finfo(pulled.dtype).tiny)
        return pulled * (most / length).clamp_max(1).view(-1, 1, 1)


class GuidedScore(Score):
    """The sum of a score and a term of guidance, with the products of its Jacobian, for actions and optimizers.

    Args:
        score: The score of the prior.
        addition: The term h, which is a score as well (`PotentialGuide.at`).
    """

    def __init__(self, score: Score, addition: Score) -> None:
        self._score, self._addition = score, addition
        self.conservative = score.conservative and addition.conservative
        self.parallel = score.parallel and addition.parallel

    def __call__(self, x: Tensor) -> Tensor:
        return self._score(x) + self._addition(x)

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        first, first_vjp = self._score.with_vjp(x)
        second, second_vjp = self._addition.with_vjp(x)
        return first + second, lambda v: first_vjp(v) + second_vjp(v)

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return self._score.jvp(x, v) + self._addition.jvp(x, v)

    def jacobian(self, x: Tensor) -> Tensor:
        return self._score.jacobian(x) + self._addition.jacobian(x)


def _where_defined(gradient: Tensor) -> Tensor:
    """A gradient that is zero for a configuration where it is undefined, such as a dihedral of atoms in a line."""
    defined = gradient.isfinite().flatten(1).all(1)
    return torch.where(defined.view(-1, 1, 1), gradient, torch.zeros_like(gradient))

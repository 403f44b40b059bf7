"""Guidance to a surface: where a coordinate r of clean configurations is zero, e.g. the logit of the committor.

The wanted ensemble is that of the data times a Gaussian in r of width b. At noise width s the posterior of the clean
configuration has the mean x(y) = y + s^2 score(y) and the covariance C = s^2 (1 + s^2 J), with the Jacobian J of the
score (Tweedie). Where it is Gaussian and r is linear, r is Gaussian, too, and the guided score is exact with

    h = -a(s) r(x) / (b^2 + v) C g / s^2 ,      g = grad r(x) ,      v = g . C g .

So the kernel is as wide as r is uncertain, and nothing is driven that the noise has not yet decided. A second kernel,
log-density Phi of the posterior mean, keeps samples near the guides: h = a_near(s) C grad Phi(x) / s^2.

Source: Boys et al., arXiv:2310.06721 (guidance with the covariance of Tweedie's formula); Song et al., ICLR 2023
(pseudoinverse-guided diffusion).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.base import Score
from tpsctl.score.guidance.base import Guide, Strength, Tilt

Coordinate = Callable[[Tensor], Tensor]
"""Clean configurations (batch, bead, dim) to r (batch,), differentiable."""

_NEGLIGIBLE = 1e-3
"""Below this strength nothing is computed: it changes a step by less than a thousandth of its noise."""


class SurfaceGuide(Guide):
    """Guidance to the surface r = 0, and to the neighborhood of guides.

    Args:
        coordinate: r of configurations in the length unit of the score.
        strength: a(s).
        bandwidth: b as a function of s, in units of r.
        near: Phi of configurations in the length unit of the score; None for no second kernel.
        near_strength: a_near(s).
        centered: Whether configurations are molecules, whose mean position is kept at zero.
    """

    def __init__(
        self,
        coordinate: Coordinate,
        *,
        strength: Strength,
        bandwidth: Callable[[float], float],
        near: Tilt | None = None,
        near_strength: Strength = lambda width: 0.0,
        centered: bool,
    ) -> None:
        self._coordinate, self._strength, self._bandwidth = coordinate, strength, bandwidth
        self._near, self._near_strength, self._centered = near, near_strength, centered

    def guided(
        self, score: Score, y: Float[Tensor, "batch bead dim"], width: float
    ) -> tuple[Float[Tensor, "batch bead dim"], Float[Tensor, "batch bead dim"]]:
        strength, near = self._strength(width), self._near_strength(width)
        if max(strength, near) < _NEGLIGIBLE:
            return score(y), torch.zeros_like(y)
        found, vjp = score.with_vjp(y)
        clean = y + width**2 * found
        h = torch.zeros_like(y)
        if strength >= _NEGLIGIBLE:
            r, g = self._slope(self._coordinate, clean)
            spread = g + width**2 * vjp(g)
            variance = (width**2 * (g * spread).sum((1, 2))).clamp_min(0)
            push = -strength * r.to(y) / (self._bandwidth(width) ** 2 + variance)
            h = h + push.view(-1, 1, 1) * spread
        if self._near is not None and near >= _NEGLIGIBLE:
            _, g = self._slope(self._near, clean)
            h = h + near * (g + width**2 * vjp(g))
        return found, h

    def _slope(self, function: Coordinate, clean: Tensor) -> tuple[Tensor, Tensor]:
        """A function of configurations, and its gradient."""
        with torch.enable_grad():
            x = clean.detach().requires_grad_(True)
            value = function(x)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), center(gradient) if self._centered else gradient

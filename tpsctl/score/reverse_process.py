"""The reverse process from noise to data, for every schedule at once.

In y = x_t / alpha with noise width s = sigma / alpha every schedule is a variance-exploding one. The processes

    dy = -(1 + kappa^2) s score(y, s) ds + kappa (2 s)^(1/2) dW ,      0 <= kappa <= 1 ,

run from large to small s, have equal marginals: kappa = 1 is the stochastic reverse process, kappa = 0 the
probability-flow ODE. In x_t they are dx = [-b + (1 + kappa^2)/2 g^2 score] dt + kappa g dW. One step from s_i to
s_{i+1} < s_i, with r = s_{i+1} / s_i and the posterior mean y + s^2 score held fixed, is

    y <- y + s_i^2 (1 - r^(1 + kappa^2)) score(y, s_i) + s_{i+1} (1 - r^(2 kappa^2))^(1/2) z ,

which is exact for a point mass: the ancestral step for kappa = 1 and the DDIM step for kappa = 0. The last step is
Tweedie's mean y + s^2 score. For molecules, noise lives in the subspace of zero mean position. s^2 |score| of a bead is
its distance from the posterior mean, of order s; a longer one than six s, which only an imprecise model gives, is
shortened to six s.

Between steps the configurations may be corrected by Langevin steps at fixed width,

    y <- y + e score(y, s) + sqrt(2 e) z ,     e = 0.15 s^2 ,

which let them forget errors made at larger widths: at widths where barriers are smoothed away, configurations move
between basins.

Source: Song et al., arXiv:2011.13456, eq. 46 (ancestral sampling for variance exploding); the family: arXiv:2310.04490;
Song et al., arXiv:2010.02502, eq. 12 (DDIM).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tpsctl.molecule.geometry import center

CORRECTION = 0.15
"""Langevin step in units of s^2; its discretization widens the noise by under 10 %."""

_FARTHEST = 6.0
"""Largest distance of a bead from its posterior mean, in noise widths."""


def reverse(
    score: Callable[[Tensor, float], Tensor],
    y: Tensor,
    widths: list[float],
    generator: torch.Generator,
    *,
    corrections: int = 0,
    shared_noise: bool = False,
    kappa: float = 1.0,
    centered: bool = True,
    last_mean: bool = True,
) -> Tensor:
    """Draw clean configurations from noised ones by the reverse process.

    Args:
        score: Score of y (batch, bead, dim) at a noise width in nm, 1/nm.
        y: Configurations with noise of width `widths[0]`, nm.
        widths: Descending noise widths, nm.
        generator: Source of randomness of the steps, on the CPU.
        corrections: Number of Langevin steps at every width.
        shared_noise: Whether all configurations get the same noise.
        kappa: Strength of the noise, from 1 (stochastic) to 0 (the probability-flow ODE).
        centered: Whether configurations are molecules, whose mean position is kept at zero.
        last_mean: Whether the last noise is removed by Tweedie's mean; if not, the result has noise of the last width.

    Returns:
        Configurations (batch, bead, dim), nm, centered if they are molecules.
    """
    gauge = center if centered else _unchanged
    both = 2 * kappa**2

    def noise(y: Tensor) -> Tensor:
        return standard_normal(y[:1] if shared_noise else y, generator, centered=centered)

    for here, there in zip(widths[:-1], widths[1:], strict=True):
        y = y + (here**2 - there ** (1 + kappa**2) * here ** (1 - kappa**2)) * bounded(score(y, here), here)
        y = gauge(y + there * (1 - there**both / here**both) ** 0.5 * noise(y))
        for _ in range(corrections):
            step = CORRECTION * there**2
            y = y + step * bounded(score(y, there), there) + (2 * step) ** 0.5 * noise(y)
    return gauge(y + widths[-1] ** 2 * bounded(score(y, widths[-1]), widths[-1])) if last_mean else gauge(y)


def in_chunks(
    one: Callable[[Tensor], Tensor], y: Tensor, size: int, generator: torch.Generator, *, shared_noise: bool
) -> Tensor:
    """Apply `one` to `size` configurations at a time; with shared noise every chunk draws the same random numbers."""
    state, done = generator.get_state(), []
    for part in y.split(size):
        if shared_noise:
            generator.set_state(state)
        done.append(one(part))
    return torch.cat(done)


def bounded(score: Tensor, width: float) -> Tensor:
    """A score whose part on every bead is shortened to a posterior mean at most six noise widths away."""
    norm = score.norm(dim=-1, keepdim=True)
    return score * (_FARTHEST / width / norm.clamp_min(1e-12)).clamp_max(1.0)


def geometric_widths(largest: float, smallest: float, steps: int) -> list[float]:
    """`steps` + 1 noise widths from the largest to the smallest with a constant ratio, in their unit."""
    return [largest * (smallest / largest) ** (n / steps) for n in range(steps + 1)]


def standard_normal(like: Tensor, generator: torch.Generator, *, centered: bool = True) -> Tensor:
    """Normal numbers shaped like a tensor, drawn on the CPU so that every device gets the same; centered over beads."""
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return (center(noise) if centered else noise).to(like)


def _unchanged(y: Tensor) -> Tensor:
    return y

"""The reverse process from noise to data, for every schedule at once.

In y = x_t / alpha with noise width s = sigma / alpha every schedule is a variance-exploding one, and one
ancestral step from width s_i to s_{i+1} < s_i is

    y <- y + (s_i^2 - s_{i+1}^2) score(y, s_i) + churn s_{i+1} sqrt(1 - s_{i+1}^2 / s_i^2) z

with churn = 1 (the exact posterior for a point mass). The last step is Tweedie's mean y + s^2 score.
Noise lives in the subspace of zero mean position. s^2 |score| of a bead is its distance from the posterior
mean, of order s; a longer one than six s, which only an imprecise model gives, is shortened to six s.

Between steps the configurations may be corrected by Langevin steps at fixed width,

    y <- y + e score(y, s) + sqrt(2 e) z ,     e = 0.15 s^2 ,

which let them forget errors made at larger widths: at widths where barriers are smoothed away, configurations move
between basins.

Source: Song et al., arXiv:2011.13456, eq. 46 (ancestral sampling for variance exploding).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tpsctl.molecule.geometry import center

_CORRECTION = 0.15
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
        last_mean: Whether the last noise is removed by Tweedie's mean; if not, the result has noise of the last width.

    Returns:
        Configurations (batch, bead, dim), nm, centered.
    """

    def like(y: Tensor) -> Tensor:
        return y[:1] if shared_noise else y

    for here, there in zip(widths[:-1], widths[1:], strict=True):
        y = y + (here**2 - there**2) * _bounded(score(y, here), here)
        y = center(y + there * (1 - there**2 / here**2) ** 0.5 * standard_normal(like(y), generator))
        for _ in range(corrections):
            step = _CORRECTION * there**2
            y = y + step * _bounded(score(y, there), there) + (2 * step) ** 0.5 * standard_normal(like(y), generator)
    return center(y + widths[-1] ** 2 * _bounded(score(y, widths[-1]), widths[-1])) if last_mean else center(y)


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


def _bounded(score: Tensor, width: float) -> Tensor:
    norm = score.norm(dim=-1, keepdim=True)
    return score * (_FARTHEST / width / norm.clamp_min(1e-12)).clamp_max(1.0)


def geometric_widths(largest: float, smallest: float, steps: int) -> list[float]:
    """`steps` + 1 noise widths from the largest to the smallest with a constant ratio, in their unit."""
    return [largest * (smallest / largest) ** (n / steps) for n in range(steps + 1)]


def standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Centered normal numbers shaped like a tensor, drawn on the CPU so that every device gets the same numbers."""
    return center(torch.randn(like.shape, generator=generator, dtype=torch.float64)).to(like)

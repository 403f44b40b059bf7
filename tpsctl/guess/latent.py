"""Interpolation in the noise of a generative prior.

Both ends are noised to diffusion time t (the level), interpolated there, and every image is denoised. The noise makes
the paths differ; the larger t, the more of the ends' structure is forgotten in between. Independent noise at
the two ends loses variance when interpolated linearly (half of it in the middle); the spherical
interpolation keeps the length of the noised vectors. All images are denoised with the same noise, so
that neighbors stay neighbors and differences between paths come from the noise at the ends:

    z(s) = [ sin((1-s) a) z_A + sin(s a) z_B ] / sin(a) ,      cos(a) = z_A . z_B / |z_A| |z_B|

Source: Raja et al., arXiv:2504.18506 (level 0.25 of the schedule there).
"""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.guess.base import Guess, fix_gauge, fractions


@runtime_checkable
class Denoiser(Protocol):
    """The part of a generative prior that a latent guess needs (see `tpsctl.prior.base.Prior`)."""

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """x (batch, bead, dim), nm, noised to level t."""

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Clean configurations (batch, bead, dim), nm, drawn by the reverse process from configurations at level t."""


class LatentGuess(Guess):
    """Paths whose ends are noised, interpolated and denoised by a generative prior.

    Args:
        prior: The generative prior, which adds and removes the noise.
        level: Diffusion time of the interpolation, in (0, 1].
        interpolation: "linear" or "spherical" (see the module).
        steps: Steps of the reverse process.

    Source: Raja et al., arXiv:2504.18506.
    """

    def __init__(
        self,
        prior: Denoiser,
        *,
        level: float,
        interpolation: Literal["linear", "spherical"] = "spherical",
        steps: int = 100,
    ) -> None:
        self._prior = prior
        self._level = level
        self._interpolate = {"linear": linear, "spherical": spherical}[interpolation]
        self._steps = steps

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        noised = self._prior.noise(ends, self._level, generator)
        joined = self._interpolate(noised[0], noised[1], fractions(ends, images).to(noised))
        path = self._prior.denoise(joined, self._level, generator, steps=self._steps, shared_noise=True)
        return fix_gauge(path.to(ends), ends)


def linear(a: Float[Tensor, "bead dim"], b: Float[Tensor, "bead dim"], s: Float[Tensor, " image"]) -> Tensor:
    """Linear interpolation (1-s) a + s b for every s in [0, 1]: (image, bead, dim)."""
    s = s.reshape(-1, 1, 1)
    return (1 - s) * a + s * b


def spherical(a: Float[Tensor, "bead dim"], b: Float[Tensor, "bead dim"], s: Float[Tensor, " image"]) -> Tensor:
    """Spherical interpolation (see the module) of a and b about their centers, which are interpolated linearly.

    Returns:
        One configuration for every s in [0, 1]: (image, bead, dim).
    """
    if a.shape[0] < 2:
        return linear(a, b, s)
    mean_a, mean_b = a.mean(0), b.mean(0)
    u, v = a - mean_a, b - mean_b
    cosine = (u * v).sum() / (u.norm() * v.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(torch.sin(angle)) < 1e-6:  # parallel: the great circle is the straight line
        return linear(a, b, s)
    s = s.reshape(-1, 1, 1)
    arc = (torch.sin((1 - s) * angle) * u + torch.sin(s * angle) * v) / torch.sin(angle)
    return arc + (1 - s) * mean_a + s * mean_b

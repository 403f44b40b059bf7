"""Checks of a score at one noise width that need held-out positions only, and no forces.

Let y = x_0 + sigma eps with held-out frames x_0, and d = -eps / sigma. For every vector field g(y),

    E[ g(y) . d ] = E[ g(y) . s*(y) ] ,      s* the score of the noised data.

Two checks follow from it.

* Calibration slope: with g the model's score s, the slope c = E[s . d] / E[s . s] of the regression of d on s is 1 for
  the exact score. If s = s* + n with an error n that does not correlate with s*, then c = |s*|^2 / (|s*|^2 + |n|^2) is
  the fraction of s that is signal. Applied to torques, g = (v_b . s) v_b with v_b the rotation about bond b.
* Fokker-Planck residual: log p of data with noise of variance 2 lambda = sigma^2 obeys the heat equation, hence
  r(y) = d log p / d lambda - div s - |s|^2 is the same number for all y. The deviation of r from its mean, divided by
  that of div s + |s|^2, is 0 for a model that is consistent from width to width.

The noise of d grows as 1/sigma. It cancels in pairs y+- = x_0 +- sigma eps, for which g . d is estimated by
-(g(y+) - g(y-)) . eps / (2 sigma), whose variance stays finite as sigma goes to 0.

Source: Hyvarinen, J. Mach. Learn. Res. 6 (2005) 695 (implicit form); Lai et al., arXiv:2210.04296 (Fokker-Planck).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.base import Score
from tpsctl.score.likelihood import divergence

Rotations = Callable[[Tensor], Tensor]
"""Structures (batch, bead, 3), nm, to displacements per rad about every bond, (batch, bond, bead, 3), nm."""

_CHUNK = 500
"""Frames per evaluation of the score."""

_STEP = 0.01
"""Relative change of the noise width in the derivative of log p."""


@dataclass(frozen=True)
class Slope:
    """A calibration slope with its standard error; 1 is perfect, and below 1 the score is partly noise."""

    value: float
    error: float


def calibration_slope(
    score: Score,
    clean: Float[Tensor, "frame bead dim"],
    width_nm: float,
    generator: torch.Generator,
    *,
    rotations: Rotations | None = None,
) -> Slope:
    """The slope c of the regression of denoising targets on the score, or on its torques.

    Args:
        score: The model's score at this width, for positions that are not divided by anything.
        clean: Held-out frames, nm.
        width_nm: Noise width, nm.
        generator: Source of the noise.
        rotations: Rotations about bonds, for the slope of the torques; None for that of all components.
    """
    noise = center(torch.randn(clean.shape, generator=generator, dtype=clean.dtype))
    parts = zip(center(clean).split(_CHUNK), noise.split(_CHUNK), strict=True)
    pairs = [_pair(score, x, eps, width_nm, rotations) for x, eps in parts]
    with_target, square = (torch.cat(values) for values in zip(*pairs, strict=True))
    value = with_target.sum() / square.sum().clamp_min(torch.finfo(torch.float64).tiny)
    error = (with_target - value * square).square().sum().sqrt() / square.sum()
    return Slope(float(value), float(error))


def fokker_planck_residual(
    log_density: Callable[[Tensor, float], Tensor],
    score: Score,
    noised: Float[Tensor, "frame bead dim"],
    width_nm: float,
) -> float:
    """The relative Fokker-Planck residual at noised frames; 0 for a model that is consistent from width to width.

    Args:
        log_density: log p at positions, nm, for a noise width, nm, up to a constant that may depend on the width.
        score: Its gradient at this width, 1/nm.
        noised: Frames with noise of this width, nm.
        width_nm: The noise width, nm.
    """
    wider, narrower = width_nm * (1 + _STEP), width_nm * (1 - _STEP)
    by_width = (log_density(noised, wider) - log_density(noised, narrower)).double()
    by_width = by_width / ((wider**2 - narrower**2) / 2)
    by_space = divergence(score, noised).double() + score(noised).double().square().sum((1, 2))
    return float((by_width - by_space).std() / by_space.std().clamp_min(torch.finfo(torch.float64).tiny))


def _pair(
    score: Score, x: Tensor, noise: Tensor, width_nm: float, rotations: Rotations | None
) -> tuple[Tensor, Tensor]:
    """Estimates of g . d and of g . s (frame,), float64, from the frames x with noise and with its opposite."""
    g_ahead, square_ahead = _field_and_square(score, x + width_nm * noise, rotations)
    g_behind, square_behind = _field_and_square(score, x - width_nm * noise, rotations)
    with_target = -((g_ahead - g_behind) * noise).sum((1, 2)).double() / (2 * width_nm)
    return with_target, (square_ahead + square_behind).double() / 2


def _field_and_square(score: Score, y: Tensor, rotations: Rotations | None) -> tuple[Tensor, Tensor]:
    """g (frame, bead, dim) and g . s (frame,) at y."""
    s = score(y)
    if rotations is None:
        return s, s.square().sum((1, 2))
    twists = rotations(y)
    twists = twists / twists.flatten(2).norm(dim=2)[..., None, None].clamp_min(torch.finfo(y.dtype).tiny)
    torques = (twists * s.unsqueeze(1)).sum((2, 3))
    return (torques[..., None, None] * twists).sum(1), torques.square().sum(1)

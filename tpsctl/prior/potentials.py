"""Analytic model potentials: the double well and the Mueller-Brown surface.

Energies are in kJ/mol and lengths in nm; the published numbers are dimensionless and are taken in these
units. A configuration is one bead, so x has shape (batch, 1, dim).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

EnergyFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class NamedPotential:
    """A potential energy with its name, for tables and figures.

    Attributes:
        name: E.g. "mueller_brown".
        energy: Energies (batch,) in kJ/mol of configurations (batch, bead, dim) in nm.
    """

    name: str
    energy: EnergyFn


# The Mueller-Brown surface as in the notebooks of arXiv:2504.18506: the usual one, scaled to a box of 50 x 50.
_AMPLITUDE = (-17.3, -8.7, -14.7, 1.3)
_XX = (-0.0039, -0.0039, -0.0254, 0.00273)
_XY = (0.0, 0.0, 0.0430, 0.0023)
_YY = (-0.0391, -0.0391, -0.0254, 0.00273)
_X0 = (48.0, 32.0, 24.0, 16.0)
_Y0 = (8.0, 16.0, 32.0, 24.0)


def mueller_brown(x: Float[Tensor, "batch 1 2"]) -> Float[Tensor, " batch"]:
    """U = sum_k A_k exp(a_k (x - x_k)^2 + b_k (x - x_k)(y - y_k) + c_k (y - y_k)^2), kJ/mol.

    Source: Mueller and Brown, Theor. Chim. Acta 53 (1979) 75; scaled as in arXiv:2504.18506.
    """
    amplitude, center, form = _constants(x.dtype, x.device)
    away = x - center  # (batch, term, 2)
    return (amplitude * torch.exp((away * (form @ away.unsqueeze(-1)).squeeze(-1)).sum(-1) / 2)).sum(-1)


def mueller_brown_derivatives(x: Float[Tensor, "batch 1 2"]) -> tuple[Tensor, Tensor]:
    """Gradient (batch, 1, 2) and Hessian (batch, 2, 2) of `mueller_brown`, kJ/mol per nm and nm^2."""
    amplitude, x0, y0, xx, xy, yy = _components(x.dtype, x.device)
    dx, dy = x[..., 0] - x0, x[..., 1] - y0  # (batch, term)
    by_x, by_y = xx * dx + xy * dy, xy * dx + yy * dy  # of the exponents
    value = amplitude * torch.exp((dx * by_x + dy * by_y) / 2)
    slope_x, slope_y = value * by_x, value * by_y
    gradient = torch.stack((slope_x, slope_y), dim=1).sum(-1)
    across = value * xy + slope_x * by_y
    hessian = torch.stack((value * xx + slope_x * by_x, across, across, value * yy + slope_y * by_y), dim=1).sum(-1)
    return gradient.unsqueeze(1), hessian.view(-1, 2, 2)


@functools.cache
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes (term), centers (term, 2) and matrices F (term, 2, 2); the exponents are x^T F x / 2."""
    form = [[[2 * a, b], [b, 2 * c]] for a, b, c in zip(_XX, _XY, _YY, strict=True)]
    values = (_AMPLITUDE, list(zip(_X0, _Y0, strict=True)), form)
    amplitude, center, form_ = (torch.tensor(value, dtype=dtype, device=device) for value in values)
    return amplitude, center, form_


@functools.cache
def _components(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Amplitudes, x and y of the centers, and xx, xy and yy of the matrices, each of shape (term)."""
    amplitude, center, form = _constants(dtype, device)
    parts = (amplitude, center[:, 0], center[:, 1], form[:, 0, 0], form[:, 0, 1], form[:, 1, 1])
    return tuple(part.contiguous() for part in parts)


def double_well(
    x: Float[Tensor, "batch bead dim"], *, barrier: float, half_distance_nm: float, stiffness: float
) -> Float[Tensor, " batch"]:
    """U = barrier ((x_1 / a)^2 - 1)^2 + stiffness/2 (x_2^2 + ...), kJ/mol.

    Args:
        x: Configurations, nm; the first coordinate crosses the barrier, the others are harmonic.
        barrier: Height of the barrier at x_1 = 0 over the minima, kJ/mol.
        half_distance_nm: a; the minima are at x_1 = -a and a, nm.
        stiffness: Spring constant of the other coordinates, kJ/mol/nm^2.
    """
    flat = x.flatten(1)
    across = barrier * ((flat[:, 0] / half_distance_nm) ** 2 - 1) ** 2
    return across + stiffness / 2 * flat[:, 1:].square().sum(1)

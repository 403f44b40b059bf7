"""Minimization by quasi-Newton steps to where the energy is quadratic, then by Newton steps with exact Hessians.

Phase 1 is BFGS for the inverse Hessian, started from a model Hessian, with steps of bounded length that must lower the
energy (Armijo condition). Phase 2 takes steps -sum_i v_i (v_i.g)/|lambda_i|; at a stationary point with a negative
curvature it moves along that mode. Where that leads out of the quadratic region, phase 1 begins again. A minimum is a
point with |grad U| below the tolerance and no negative curvature.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.rigid import without_rigid
from tpsctl.landscape.stationary import (
    NOTICEABLE_CURVATURE,
    Points,
    curvatures,
    evaluate,
    index_of,
    is_rigid,
    limited,
)
from tpsctl.landscape.surface import Surface


@dataclass(frozen=True)
class MinimumSettings:
    """Tolerance and limits of a minimization.

    Attributes:
        tolerance: Largest |grad U| of a minimum, kJ/mol/nm.
        quadratic_below: |grad U| below which Newton steps with exact Hessians take over, kJ/mol/nm.
        max_steps: Most quasi-Newton steps.
        max_newton_steps: Most Newton steps.
        max_move_nm: Farthest an atom moves in a step, nm.
        max_descents: Most times that phase 1 begins.
    """

    tolerance: float = 1e-3
    quadratic_below: float = 10.0
    max_steps: int = 400
    max_newton_steps: int = 30
    max_move_nm: float = 0.02
    max_descents: int = 4


def minimize(
    surface: Surface,
    x: Float[Tensor, "batch atom dim"],
    coordinates: Coordinates,
    settings: MinimumSettings | None = None,
) -> Points:
    """Minimize the energy from these configurations, nm; `converged` of the result says where a minimum was found.

    Args:
        surface: Energy and its derivatives.
        x: Where to start, nm.
        coordinates: Turns steps into configurations, and gives the first Hessian.
        settings: Tolerance and limits; None for the defaults.

    Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapters 3 and 6.
    """
    settings = settings or MinimumSettings()
    found = polish(surface, descend(surface, x, coordinates, settings), settings)
    for _ in range(settings.max_descents - 1):
        left = (~found.converged & (found.gradient.norm(dim=1) > settings.quadratic_below)).nonzero()[:, 0]
        if len(left) == 0:
            break
        again = polish(surface, descend(surface, found.x[left], coordinates, settings), settings)
        for name in ("x", "energy", "gradient", "hessian", "converged"):
            getattr(found, name)[left] = getattr(again, name)
    return found


def descend(
    surface: Surface,
    x: Float[Tensor, "batch atom dim"],
    coordinates: Coordinates,
    settings: MinimumSettings,
    *,
    held: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Float[Tensor, "batch atom dim"]:
    """Take quasi-Newton steps until |grad U| < quadratic_below, and return the configurations reached, nm.

    Args:
        surface: Energy and its derivatives.
        x: Where to start, nm.
        coordinates: Gives the first Hessian; where it has no model Hessian, the first one is exact.
        settings: Tolerance and limits.
        held: (configurations, their numbers in the batch) -> orthonormal directions (batch, n, k) along which nothing
            moves, and whose part of the gradient does not count.
    """
    dim, x = x.shape[-1], x.clone()
    energy, gradient = evaluate(surface, x)
    if held is not None:
        gradient = without_rigid(gradient, held(x, torch.arange(len(x))))
    inverse = _first_inverse(surface, x, coordinates)
    scale = torch.ones_like(energy)
    for _ in range(settings.max_steps):
        work = torch.isfinite(energy) & (gradient.norm(dim=1) > settings.quadratic_below) & (scale > 1e-6)
        lanes = work.nonzero()[:, 0]
        if len(lanes) == 0:
            break
        step = -(inverse[lanes] @ gradient[lanes].unsqueeze(2)).squeeze(2)
        if held is not None:
            step = without_rigid(step, held(x[lanes], lanes))
        step = limited(step, dim, settings.max_move_nm) * scale[lanes, None]
        slope = (step * gradient[lanes]).sum(1)
        moved = x[lanes] + step.reshape(-1, *x.shape[1:])
        new_energy, new_gradient = evaluate(surface, moved)
        if held is not None:
            new_gradient = without_rigid(new_gradient, held(moved, lanes))
        good = new_energy <= energy[lanes] + 1e-4 * slope.clamp_max(0)
        kept, rejected = lanes[good], lanes[~good]
        change = new_gradient[good] - gradient[kept]
        inverse[kept] = _bfgs(inverse[kept], step[good], change)
        x[kept], energy[kept], gradient[kept] = moved[good], new_energy[good], new_gradient[good]
        scale[kept] = (2 * scale[kept]).clamp_max(1.0)
        scale[rejected] *= 0.25
    return x


def polish(surface: Surface, x: Float[Tensor, "batch atom dim"], settings: MinimumSettings) -> Points:
    """Take Newton steps with exact Hessians from configurations, nm, until |grad U| is below the tolerance.

    A configuration that leaves the quadratic region, as one does on its way down from a saddle, stays where it left.
    """
    dim, x = x.shape[-1], x.clone()
    energy, gradient = evaluate(surface, x)
    hessian = x.new_full((len(x), gradient.shape[1], gradient.shape[1]), torch.nan)
    converged = torch.zeros(len(x), dtype=torch.bool)
    limit = torch.full_like(energy, settings.max_move_nm)
    lanes = torch.isfinite(energy).nonzero()[:, 0]
    for _ in range(settings.max_newton_steps):
        lanes = lanes[gradient[lanes].norm(dim=1) <= 2 * settings.quadratic_below]
        if len(lanes) == 0:
            break
        hessian[lanes] = surface.hessian(x[lanes])
        values, vectors = curvatures(surface, x[lanes], hessian[lanes])
        small = gradient[lanes].norm(dim=1) <= settings.tolerance
        converged[lanes] = small & (index_of(values) == 0)
        going = ~converged[lanes]
        lanes, values, vectors = lanes[going], values[going], vectors[going]
        if len(lanes) == 0:
            break
        step = limited(_newton_step(gradient[lanes], values, vectors, kick=small[going]), dim, limit[lanes])
        moved = x[lanes] + step.reshape(-1, *x.shape[1:])
        new_energy, new_gradient = evaluate(surface, moved)
        good = (new_energy <= energy[lanes] + 1e-6) | (new_gradient.norm(dim=1) <= gradient[lanes].norm(dim=1))
        kept, rejected = lanes[good], lanes[~good]
        x[kept], energy[kept], gradient[kept] = moved[good], new_energy[good], new_gradient[good]
        limit[kept] = (2 * limit[kept]).clamp_max(settings.max_move_nm)
        limit[rejected] *= 0.25
    return Points(x, energy, gradient, hessian, converged)


def _newton_step(gradient: Tensor, values: Tensor, vectors: Tensor, *, kick: Bool[Tensor, " batch"]) -> Tensor:
    """The step -sum_i v_i (v_i.g)/|lambda_i|, and with `kick` a push along the lowest mode."""
    along = (vectors.mT @ gradient.unsqueeze(2)).squeeze(2)
    along = -along / values.abs().clamp_min(NOTICEABLE_CURVATURE)
    along = along.masked_fill(is_rigid(values), 0.0)
    along[:, 0] = torch.where(kick, 0.02, along[:, 0])
    return (vectors @ along.unsqueeze(2)).squeeze(2)


def _first_inverse(surface: Surface, x: Tensor, coordinates: Coordinates) -> Tensor:
    """Inverse of the model Hessian, or of the exact |H| if there is no model Hessian."""
    guess = coordinates.model_hessian(x)
    if guess is not None:
        return torch.linalg.inv(guess)
    values, vectors = curvatures(surface, x, surface.hessian(x))
    return vectors @ (vectors / values.abs().clamp_min(NOTICEABLE_CURVATURE).unsqueeze(1)).mT


def _bfgs(inverse: Tensor, step: Float[Tensor, "batch n"], change: Float[Tensor, "batch n"]) -> Tensor:
    """The inverse Hessian after a step; unchanged where the curvature along the step is not positive."""
    sy = (step * change).sum(1)
    sound = sy > 1e-10 * step.norm(dim=1) * change.norm(dim=1)
    rho = torch.where(sound, 1 / torch.where(sound, sy, 1.0), 0.0)
    hy = (inverse @ change.unsqueeze(2)).squeeze(2)
    rho, yhy = rho[:, None], (change * hy).sum(1, keepdim=True)
    left = torch.stack((step, hy), 2)
    right = torch.stack(((rho + rho.square() * yhy) * step - rho * hy, -rho * step), 1)
    return torch.baddbmm(inverse, left, right)

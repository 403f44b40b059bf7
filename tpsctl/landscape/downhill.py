"""The steepest descent paths, in mass-weighted coordinates, from a saddle to the minima on both sides.

With q = sqrt(m) x and the local quadratic approximation (LQA) of U, dq/dt = -grad U has the solution

    dq(t) = -sum_i v_i g_i (1 - exp(-l_i t)) / l_i

with modes v_i, curvatures l_i and g_i = v_i . grad U. A step follows this curve until an atom has moved as far as the
approximation is trusted; if no atom ever moves that far, the step is Newton's. The Hessian is exact at the saddle, is
updated by Bofill's formula, and is recomputed where the approximation fails. Close to a minimum Newton steps with
exact Hessians take over (`tpsctl.landscape.minimum`).

Source: Page and McIver, J. Chem. Phys. 88 (1988) 922.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.minimum import MinimumSettings, minimize
from tpsctl.landscape.rigid import no_basis, projected, rigid_basis
from tpsctl.landscape.stationary import Points, bofill, evaluate, longest_move, model_error
from tpsctl.landscape.surface import Surface

OnStep = Callable[[Tensor, Tensor], None]
"""Called after a step with the numbers of the sides that moved and their new configurations, nm."""


@dataclass(frozen=True)
class DownhillSettings:
    """Lengths and limits of the steps down from a saddle.

    Attributes:
        first_move_nm: Largest move of an atom in the first step, which leaves the saddle along its unstable mode, nm.
        max_move_nm: Farthest an atom moves in a step, nm.
        renew_every: Number of steps between exact Hessians.
        max_steps: Most steps.
        quadratic_below: |grad U| below which Newton steps take over, kJ/mol/nm, if all curvatures are positive.
    """

    first_move_nm: float = 0.005
    max_move_nm: float = 0.04
    renew_every: int = 10
    max_steps: int = 300
    quadratic_below: float = 20.0


def follow_downhill(
    surface: Surface,
    saddles: Points,
    coordinates: Coordinates,
    settings: DownhillSettings | None = None,
    on_step: OnStep | None = None,
) -> tuple[Points, Float[Tensor, "batch 2 n"]]:
    """Find the minima on both sides of every saddle.

    Args:
        surface: Energy and its derivatives.
        saddles: Saddles with exact Hessians.
        coordinates: Turns steps into configurations.
        settings: Lengths and limits of the steps.
        on_step: Called after every step.

    Returns:
        The minima as points of 2 * batch rows, beginning with both sides of the first saddle, and the directions in
        which the saddles were left.
    """
    settings = settings or DownhillSettings()
    mode = _unstable_modes(surface, saddles)
    size = longest_move(mode, saddles.x.shape[-1])
    away = mode * (settings.first_move_nm / size).unsqueeze(1)
    directions = torch.stack((away, -away), 1)
    x = (saddles.x.unsqueeze(1) + directions.reshape(len(away), 2, *saddles.x.shape[1:])).flatten(0, 1)
    hessian = saddles.hessian.repeat_interleave(2, 0)
    x = _slide(surface, x, hessian, coordinates, settings, on_step)
    return minimize(surface, x, coordinates, MinimumSettings()), directions


def descent_paths(
    surface: Surface, saddles: Points, coordinates: Coordinates, settings: DownhillSettings | None = None
) -> list[Float[Tensor, "image atom dim"]]:
    """The steepest descent paths of every saddle, two each, from the saddle to a minimum, nm.

    The order is the order of the minima that `follow_downhill` returns, and so are the arguments. The points of a path
    are the ends of the steps, so their distances vary.
    """
    settings = settings or DownhillSettings()
    curves: list[list[Tensor]] = [[x] for x in saddles.x.repeat_interleave(2, 0)]

    def keep(lanes: Tensor, x: Tensor) -> None:
        for lane, here in zip(lanes.tolist(), x, strict=True):
            curves[lane].append(here)

    minima, _ = follow_downhill(surface, saddles, coordinates, settings, on_step=keep)
    return [torch.stack([*curve, end]) for curve, end in zip(curves, minima.x, strict=True)]


def _roots(surface: Surface, x: Tensor) -> Float[Tensor, " n"]:
    return surface.masses_amu.to(x).sqrt().repeat_interleave(x.shape[-1])


def _weighted(surface: Surface, x: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (1/ps^2) and modes of the mass-weighted Hessian after rigid motions are projected out."""
    root = _roots(surface, x)
    basis = rigid_basis(x, surface.masses_amu) if surface.rigid_motions else no_basis(x)
    values, vectors = torch.linalg.eigh(projected(hessian / root / root[:, None], basis))
    return values, vectors


def _unstable_modes(surface: Surface, saddles: Points) -> Float[Tensor, "batch n"]:
    """The lowest mode of every saddle as a displacement of atoms."""
    _, vectors = _weighted(surface, saddles.x, saddles.hessian)
    return vectors[:, :, 0] / _roots(surface, saddles.x)


def _slide(
    surface: Surface,
    x: Tensor,
    hessian: Tensor,
    coordinates: Coordinates,
    settings: DownhillSettings,
    on_step: OnStep | None,
) -> Tensor:
    """Steps of the local quadratic approximation until |grad U| is small in a convex region."""
    x, hessian = x.clone(), hessian.clone()
    energy, gradient = evaluate(surface, x)
    limit = torch.full_like(energy, settings.max_move_nm / 2)
    age = torch.zeros(len(x), dtype=torch.long)
    done = ~torch.isfinite(energy)
    for _ in range(settings.max_steps):
        lanes = (~done).nonzero()[:, 0]
        if len(lanes) == 0:
            break
        values, vectors = _weighted(surface, x[lanes], hessian[lanes])
        done[lanes] = (values[:, 0] > 0) & (gradient[lanes].norm(dim=1) < settings.quadratic_below)
        going = ~done[lanes]
        lanes, values, vectors = lanes[going], values[going], vectors[going]
        if len(lanes) == 0:
            break
        step = _lqa_step(surface, x[lanes], gradient[lanes], values, vectors, limit[lanes])
        bent = coordinates.moved(x[lanes], step)
        new_energy, new_gradient = evaluate(surface, bent.x)
        expected = bent.gradient(gradient[lanes] + (hessian[lanes] @ step.unsqueeze(2)).squeeze(2))
        error = model_error(values, vectors, new_gradient - expected, gradient[lanes], new_gradient)
        up = ~(new_energy <= energy[lanes] + 1e-9)
        poor = up | ~(error < 0.6)
        limit[lanes] = torch.where(poor, limit[lanes] / 2, (limit[lanes] * 1.3).clamp_max(settings.max_move_nm))
        done[lanes[up]] = limit[lanes[up]] < 1e-5
        age[lanes] += 1
        kept = lanes[~up]
        carried = bent.hessian(hessian[lanes])
        change = (carried @ bent.step.unsqueeze(2)).squeeze(2) + new_gradient - expected
        hessian[kept] = bofill(carried, bent.step, change)[~up]
        x[kept], energy[kept], gradient[kept] = bent.x[~up], new_energy[~up], new_gradient[~up]
        if on_step is not None:
            on_step(kept, x[kept])
        renewed = lanes[poor | (age[lanes] >= settings.renew_every)]
        if len(renewed):
            hessian[renewed], age[renewed] = surface.hessian(x[renewed]), 0
    return x


def _lqa_step(
    surface: Surface, x: Tensor, gradient: Tensor, values: Tensor, vectors: Tensor, limit: Tensor
) -> Float[Tensor, "batch n"]:
    """The displacement of atoms at the time when the first atom reaches the limit, or at infinite time if none does."""
    root = _roots(surface, x)
    along = (vectors.mT @ (gradient / root).unsqueeze(2)).squeeze(2)
    low = torch.full_like(limit, -18.0)  # logarithm of time in ps^2
    high = torch.full_like(limit, 4.0)

    def displacement(log_time: Tensor) -> Tensor:
        exponent = (-values * log_time.exp().unsqueeze(1)).clamp(-60, 60)
        small = values.abs() < 1e-9
        growth = torch.where(small, log_time.exp().unsqueeze(1), -torch.expm1(exponent) / torch.where(small, 1, values))
        return (vectors @ (-along * growth).unsqueeze(2)).squeeze(2) / root

    for _ in range(30):
        middle = (low + high) / 2
        beyond = longest_move(displacement(middle), x.shape[-1]) > limit
        high, low = torch.where(beyond, middle, high), torch.where(beyond, low, middle)
    return displacement(low)

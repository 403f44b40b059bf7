"""Saddles: eigenvector following to a stationary point with exactly one negative curvature.

A step climbs along one mode and descends along all others,

    dx = sum_i s_i v_i 2 g_i / ( |l_i| + sqrt(l_i^2 + 4 g_i^2 / r^2) ) ,    s = +1 for the mode followed, else -1

(l_i, v_i curvatures and modes, g_i = v_i . grad U, r = 0.1 nm), which is Newton's step near a stationary point and at
most r per mode far from it. Steps are taken along internal coordinates (`tpsctl.landscape.coordinates`). At first the
search follows the soft mode that is most like a given direction; later it follows the mode most like the last one,
among the modes that are not higher, so that the mode followed becomes the lowest. Hessians are exact at the start,
every few steps, where the quadratic model fails and near the end; in between they are carried along the step and
updated by Bofill's formula. A stationary point with more than one negative curvature, where symmetry can trap the
search, is left by a random push along all modes of negative curvature.

Source: Cerjan and Miller, J. Chem. Phys. 75 (1981) 2800; step as in Wales, J. Chem. Phys. 101 (1994) 3750.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.stationary import (
    Points,
    bofill,
    curvatures,
    evaluate,
    index_of,
    limited,
    longest_move,
    model_error,
    step_along_modes,
)
from tpsctl.landscape.surface import Surface

FOLLOWED_MODES = 6
"""Number of softest modes of which one is followed uphill."""


@dataclass(frozen=True)
class SaddleSettings:
    """Tolerance and limits of a saddle search.

    Attributes:
        tolerance: Largest |grad U| of a saddle, kJ/mol/nm.
        quadratic_below: |grad U| below which every Hessian is exact, kJ/mol/nm.
        renew_every: Number of steps between exact Hessians.
        max_steps: Most steps.
        max_move_nm: Farthest an atom moves in a step, nm.
        kick_nm: Length of the push that leaves a stationary point of higher index, nm.
        max_kicks: Most such pushes.
    """

    tolerance: float = 1e-3
    quadratic_below: float = 5.0
    renew_every: int = 5
    max_steps: int = 40
    max_move_nm: float = 0.05
    kick_nm: float = 0.01
    max_kicks: int = 4


class _Climb:
    """State of a batch of searches; the rows of searches that converged or were given up stay as they are."""

    def __init__(self, surface: Surface, x: Tensor, settings: SaddleSettings) -> None:
        self.x = x.clone()
        self.energy, self.gradient = evaluate(surface, self.x)
        n = self.gradient.shape[1]
        self.hessian = x.new_full((len(x), n, n), torch.nan)
        self.exact = torch.zeros(len(x), dtype=torch.bool)
        self.due = torch.ones(len(x), dtype=torch.bool)
        self.age = torch.zeros(len(x), dtype=torch.long)
        self.limit = torch.full_like(self.energy, settings.max_move_nm)
        self.kicks = torch.zeros(len(x), dtype=torch.long)
        self.converged = torch.zeros(len(x), dtype=torch.bool)
        self.done = ~torch.isfinite(self.energy)


def climb_to_saddles(
    surface: Surface,
    x: Float[Tensor, "batch atom dim"],
    coordinates: Coordinates,
    generators: Sequence[torch.Generator],
    direction: Float[Tensor, "batch n"] | None = None,
    settings: SaddleSettings | None = None,
) -> Points:
    """Search for saddles of index 1 near configurations; `converged` of the result says where one was found.

    Args:
        surface: Energy and its derivatives.
        x: Where to start, nm.
        coordinates: Turns steps into configurations.
        generators: Source of randomness of each search, for its pushes.
        direction: Direction in which to climb at first, e.g. a path's tangent; None for the lowest mode.
        settings: Tolerance and limits; None for the defaults.

    Source: Cerjan and Miller, J. Chem. Phys. 75 (1981) 2800; Wales, J. Chem. Phys. 101 (1994) 3750.
    """
    settings = settings or SaddleSettings()
    climb = _Climb(surface, x, settings)
    highest = torch.full((len(x),), FOLLOWED_MODES - 1)
    followed = None if direction is None else direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-30)
    for _ in range(settings.max_steps):
        lanes = (~climb.done).nonzero()[:, 0]
        if len(lanes) == 0:
            break
        near = climb.gradient[lanes].norm(dim=1) <= settings.quadratic_below
        renewed = lanes[climb.due[lanes] | (near & ~climb.exact[lanes])]
        if len(renewed):
            climb.hessian[renewed] = surface.hessian(climb.x[renewed])
            climb.exact[renewed], climb.due[renewed], climb.age[renewed] = True, False, 0
        values, vectors = curvatures(surface, climb.x[lanes], climb.hessian[lanes])
        _judge(climb, lanes, values, settings)
        going = ~climb.done[lanes]
        lanes, values, vectors = lanes[going], values[going], vectors[going]
        if len(lanes) == 0:
            break
        mode = torch.zeros_like(lanes)
        if followed is not None:
            mode = _mode_to_follow(vectors, followed[lanes], highest[lanes])
            followed[lanes] = vectors[torch.arange(len(lanes)), :, mode]
            highest[lanes] = mode
        trapped = climb.gradient[lanes].norm(dim=1) <= settings.tolerance
        step = _step(climb.gradient[lanes], values, vectors, mode)
        for row in trapped.nonzero()[:, 0].tolist():
            step[row] = _push(values[row], vectors[row], generators[int(lanes[row])], settings.kick_nm)
            climb.kicks[lanes[row]] += 1
        step = limited(step, x.shape[-1], climb.limit[lanes])
        _take(surface, coordinates, climb, lanes, step, (values, vectors), settings)
    return Points(climb.x, climb.energy, climb.gradient, climb.hessian, climb.converged)


def _judge(climb: _Climb, lanes: Tensor, values: Tensor, settings: SaddleSettings) -> None:
    """Mark the searches that converged, and give up those that were pushed too often."""
    small = (climb.gradient[lanes].norm(dim=1) <= settings.tolerance) & climb.exact[lanes]
    climb.converged[lanes] = small & (index_of(values) == 1)
    climb.done[lanes] = climb.converged[lanes] | (small & (climb.kicks[lanes] >= settings.max_kicks))


def _mode_to_follow(
    vectors: Float[Tensor, "batch n n"], direction: Float[Tensor, "batch n"], highest: Int[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """Number of the mode most like the direction, among those up to the given number."""
    overlap = (vectors.mT @ direction.unsqueeze(2)).squeeze(2).abs()
    above = torch.arange(overlap.shape[1]) > highest.unsqueeze(1)
    return overlap.masked_fill(above, -1.0).argmax(1)


def _step(gradient: Tensor, values: Tensor, vectors: Tensor, mode: Tensor) -> Float[Tensor, "batch n"]:
    """The step uphill along one mode and downhill along the others, without rigid motions."""
    signs = torch.full_like(values, -1.0)
    signs[torch.arange(len(mode)), mode] = 1.0
    return step_along_modes(gradient, values, vectors, signs)


def _push(values: Tensor, vectors: Tensor, generator: torch.Generator, length: float) -> Float[Tensor, " n"]:
    """A push in a random direction within the modes of negative curvature, or the lowest two if there are none."""
    count = max(2, int(index_of(values[None])[0]))
    weights = torch.randn(count, generator=generator, dtype=torch.float64).to(values)
    return vectors[:, :count] @ (weights * (length / weights.norm()))


def _take(
    surface: Surface,
    coordinates: Coordinates,
    climb: _Climb,
    lanes: Tensor,
    step: Tensor,
    modes: tuple[Tensor, Tensor],
    settings: SaddleSettings,
) -> None:
    """Take a step, compare its end with the quadratic model, and update Hessian and trust radius."""
    bent = coordinates.moved(climb.x[lanes], step)
    energy, gradient = evaluate(surface, bent.x)
    expected = bent.gradient(climb.gradient[lanes] + (climb.hessian[lanes] @ step.unsqueeze(2)).squeeze(2))
    error = model_error(*modes, gradient - expected, climb.gradient[lanes], gradient)
    longest = longest_move(step, climb.x.shape[-1])
    lost = ~torch.isfinite(energy)
    poor, fine = lost | ~(error < 0.7), error < 0.35
    grown = torch.where(fine, 1.5 * climb.limit[lanes], climb.limit[lanes]).clamp_max(settings.max_move_nm)
    climb.limit[lanes] = torch.where(poor, (0.5 * longest).clamp_min(2e-3), grown)
    climb.due[lanes] = poor | (climb.age[lanes] + 1 >= settings.renew_every)
    climb.done[lanes[lost]] = climb.limit[lanes[lost]] <= 2e-3
    kept = lanes[~lost]
    carried = bent.hessian(climb.hessian[lanes])
    change = (carried @ bent.step.unsqueeze(2)).squeeze(2) + gradient - expected
    climb.hessian[kept] = bofill(carried, bent.step, change)[~lost]
    climb.exact[kept] = False
    climb.age[kept] += 1
    climb.x[kept], climb.energy[kept], climb.gradient[kept] = bent.x[~lost], energy[~lost], gradient[~lost]

"""Shots by overdamped dynamics in a score, such as that of a prior; many shots at once.

    dx = D score(x) dt + sqrt(2 D) dW ,    x_{n+1} = x_n + D score(x_n) dt + sqrt(2 D dt) xi      (Euler-Maruyama)

It has the density whose gradient the score is, no velocities, and the same law in both directions of time. The
committor does not depend on D, which only sets the unit of time.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tpsctl.simulation.shooting.dynamics import Arrival, Flight, Propagator, ShotSeed, arrival_of
from tpsctl.simulation.shooting.states import NEITHER, TwoStates

STEP_OF_STIFFEST = 0.05
"""D dt times the largest curvature of -log p: the step as a fraction of the fastest relaxation time."""

_POWER_STEPS = 30

_STEPS_DRAWN = 64
"""Steps whose random numbers are drawn at once."""


class OverdampedDynamics(Propagator):
    """Euler-Maruyama steps with the same diffusion coefficient for all coordinates.

    Args:
        score_fn: Score of a batch (batch, bead, dim), nm -> 1/nm.
        diffusion: D, nm^2/ps.
        dt_ps: Time step, ps.
        frame_steps: Steps between two frames.
    """

    def __init__(
        self, score_fn: Callable[[Tensor], Tensor], *, diffusion: float, dt_ps: float, frame_steps: int = 1
    ) -> None:
        self._score_fn, self._frame_steps = score_fn, frame_steps
        self._drift, self._width = diffusion * dt_ps, math.sqrt(2 * diffusion * dt_ps)
        self.frame_ps = frame_steps * dt_ps

    def fly(
        self, x: Tensor, seeds: Sequence[ShotSeed], states: TwoStates, longest_ps: float, *, keep: bool = False
    ) -> list[Flight]:
        swarm = _Swarm(x.clone(), [np.random.default_rng(seed.noise) for seed in seeds])
        track = [swarm.x.unsqueeze(1)] if keep else []
        flights: dict[int, Flight] = {}
        last = self.frames_within(longest_ps)
        for count in range(last + 1):
            if count:
                self._advance(swarm)
                track = [*track, swarm.x.unsqueeze(1)] if keep else []
            where, finite = states.where(swarm.x), swarm.x.isfinite().all(-1).all(-1)
            ended = (where != NEITHER) | ~finite | (count == last)
            if not bool(ended.any()):
                continue
            whole = torch.cat(track, dim=1) if keep else swarm.x.unsqueeze(1)
            for row in torch.nonzero(ended).flatten().tolist():
                arrival = arrival_of(where[row]) if finite[row] else Arrival.FAILED
                shot = swarm.shots[row]
                flights[shot] = Flight(arrival, count * self.frame_ps, whole[row])
            swarm.keep(~ended)
            track = [whole[~ended]] if keep else []
            if not swarm.shots:
                break
        return [flights[shot] for shot in range(len(x))]

    def _advance(self, swarm: "_Swarm") -> None:
        """From one frame to the next."""
        for _ in range(self._frame_steps):
            swarm.x = swarm.x + self._drift * self._score_fn(swarm.x) + self._width * swarm.noise()


class _Swarm:
    """The shots under way, with random numbers that are drawn for many steps at once.

    Attributes:
        x: Where they are (shot, bead, dim), nm.
        shots: Their numbers.
    """

    def __init__(self, x: Tensor, generators: Sequence[np.random.Generator]) -> None:
        self.x, self.shots = x, list(range(len(x)))
        self._generators = list(generators)
        self._drawn = x.new_empty((0, *x.shape))
        self._used = 0

    def noise(self) -> Tensor:
        """Standard normal numbers for the next step of every shot."""
        if self._used == len(self._drawn):
            shape = (_STEPS_DRAWN, *self.x.shape[1:])
            drawn = [generator.standard_normal(shape) for generator in self._generators]
            self._drawn, self._used = torch.from_numpy(np.stack(drawn, axis=1)).to(self.x), 0
        self._used += 1
        return self._drawn[self._used - 1]

    def keep(self, chosen: Tensor) -> None:
        """Go on with these shots only."""
        rows = torch.nonzero(chosen).flatten().tolist()
        self.x, self._drawn = self.x[chosen], self._drawn[:, chosen]
        self.shots = [self.shots[row] for row in rows]
        self._generators = [self._generators[row] for row in rows]


def stable_step_ps(jvp: Callable[[Tensor, Tensor], Tensor], x: Tensor, diffusion: float, *, seed: int) -> float:
    """A time step, ps, that resolves the stiffest motion at configurations x (batch, bead, dim).

    The largest curvature of -log p is found by power iteration with products of the score's Jacobian.

    Args:
        jvp: (x, v) -> J v.
        x: Configurations, nm.
        diffusion: D, nm^2/ps.
        seed: Seed of the first directions.
    """
    drawn = np.random.default_rng(seed).standard_normal(tuple(x.shape))
    v, largest = torch.from_numpy(drawn), torch.zeros(len(x), dtype=x.dtype)
    for _ in range(_POWER_STEPS):
        v = v / v.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1)
        v = jvp(x, v)
        largest = v.flatten(1).norm(dim=1)
    return STEP_OF_STIFFEST / (diffusion * max(float(largest.max()), 1e-300))

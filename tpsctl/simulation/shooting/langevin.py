"""Shots by Langevin dynamics of a force field: velocities from the Maxwell-Boltzmann distribution, OpenMM's integrator.

    v_i ~ N(0, kT / m_i) ,    m dv = F dt - gamma m v dt + sqrt(2 gamma m kT) dW

One context is used for all shots; before each of them it is seeded again.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.simulation.engine import Engine, PhaseState, Thermostat
from tpsctl.simulation.shooting.dynamics import (
    Arrival,
    Flight,
    Propagator,
    ShotSeed,
    arrival_of,
    first_arrival,
)
from tpsctl.simulation.shooting.states import TwoStates
from tpsctl.units import thermal_energy

_FRAMES_AT_ONCE = 10
"""Frames that are computed before the states are looked for in all of them; those after the first hit are dropped."""


class LangevinDynamics(Propagator):
    """Langevin dynamics of one OpenMM System.

    Args:
        system_xml: Serialized OpenMM System.
        thermostat: Step, friction and temperature.
        frame_steps: Steps between two frames.
        platform: Name of an OpenMM platform.
        masses_amu: Masses of the particles, amu.
    """

    def __init__(
        self,
        system_xml: str,
        thermostat: Thermostat,
        *,
        frame_steps: int,
        platform: str,
        masses_amu: Sequence[float],
    ) -> None:
        self._engine = Engine(system_xml, None, thermostat, seed=1, platform=platform)
        self._frame_steps = frame_steps
        kt = thermal_energy(thermostat.temperature_k)
        self._speeds = np.sqrt(kt / np.array(masses_amu))[:, None]
        self.frame_ps = frame_steps * thermostat.dt_ps

    def fly(
        self, x: Tensor, seeds: Sequence[ShotSeed], states: TwoStates, longest_ps: float, *, keep: bool = False
    ) -> list[Flight]:
        return [self._one(*each, states, longest_ps, keep) for each in zip(x, seeds, strict=True)]

    def velocities(self, seed: ShotSeed) -> np.ndarray:
        """Velocities (particle, 3) of the Maxwell-Boltzmann distribution, nm/ps."""
        drawn = self._speeds * seed.velocities.standard_normal((len(self._speeds), 3))
        return -drawn if seed.backward else drawn

    def _one(self, x: Tensor, seed: ShotSeed, states: TwoStates, longest_ps: float, keep: bool) -> Flight:
        start = x.unsqueeze(0)
        kept, count = [start], 0
        where = states.where(start)
        if first_arrival(where) is not None:
            return Flight(arrival_of(where[0]), 0.0, start)
        self._engine.reseed(seed.noise_seed)
        self._engine.set_state(PhaseState(x.numpy(), self.velocities(seed)))
        for frames in self._stretches(self.frames_within(longest_ps)):
            if not bool(frames.isfinite().all()):
                return Flight(Arrival.FAILED, count * self.frame_ps, _chosen(kept, keep))
            where = states.where(frames)
            hit = first_arrival(where)
            here = len(frames) if hit is None else hit + 1
            count += here
            kept.append(frames[:here])
            if hit is not None:
                return Flight(arrival_of(where[hit]), count * self.frame_ps, _chosen(kept, keep))
            kept = kept if keep else kept[-1:]
        return Flight(Arrival.NEITHER, count * self.frame_ps, _chosen(kept, keep))

    def _stretches(self, frames: int) -> Iterator[Tensor]:
        """The frames in stretches, nm, float64; a stretch of NaN where the dynamics broke down."""
        for begin in range(0, frames, _FRAMES_AT_ONCE):
            found = []
            try:
                for _ in range(min(_FRAMES_AT_ONCE, frames - begin)):
                    self._engine.step(self._frame_steps)
                    found.append(self._engine.positions())
            except DataError:
                found = [np.full((len(self._speeds), 3), np.nan)]
            yield torch.from_numpy(np.stack(found))


def _chosen(kept: list[Tensor], keep: bool) -> Tensor:
    return torch.cat(kept) if keep else kept[-1][-1:]

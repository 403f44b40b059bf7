"""The distribution of noise widths in a batch of noised molecules.

Most widths are drawn where basins and handedness are decided, and few small ones, for which the linear energy suffices.
A fraction may be drawn uniformly in the time of a schedule instead, as in the velocity loss of flow matching.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tpsctl.score.schedule import NoiseSchedule
from tpsctl.training.times import TimeLaw

BANDS_OF_ATOMS = ((0.02, 0.15), (0.5, 0.8), (math.inf, 0.05))
"""Bands of widths as (upper edge in nm, share of the batch). The share is large where basins and handedness are
decided, and small where the linear energy suffices or where only the size of the molecule is left to learn."""

BANDS_OF_BEADS = ((0.3, 0.6), (math.inf, 0.4))
"""The same for coarse-grained beads, which are farther apart: more than half of the widths are below a bond."""


class NoiseWidths(Protocol):
    """A law of the noise widths of a batch."""

    @property
    def smallest_nm(self) -> float:
        """Smallest noise width, nm."""

    @property
    def largest_nm(self) -> float:
        """Largest noise width, nm."""

    def facts(self) -> list[Any]:
        """The law as plain values, for the fingerprint of a training."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Stratified noise widths (count,) in random order, nm."""


class ScheduledWidths:
    """The noise widths of a schedule at times that follow a law, as score matching draws them.

    Args:
        law: The law of the times, with a schedule in nm.
    """

    def __init__(self, law: TimeLaw) -> None:
        self._law = law

    @property
    def smallest_nm(self) -> float:
        return self._law.widths[0]

    @property
    def largest_nm(self) -> float:
        return self._law.widths[1]

    def facts(self) -> list[Any]:
        return [type(self._law).__name__, self._law.schedule.to_dict(), self._law.widths]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        t, _ = self._law.draw(count, generator)
        return self._law.schedule.relative_sigma(t).float().clamp(self.smallest_nm, self.largest_nm)


@dataclass(frozen=True)
class WidthLaw:
    """The law from which noise widths are drawn.

    Attributes:
        smallest_nm: Smallest noise width, nm.
        largest_nm: Largest noise width, nm; several times the molecule.
        schedule: Schedule with widths in nm, which is only used for `uniform_time`.
        uniform_time: Fraction of widths drawn uniformly in the schedule's time instead of by the bands.
        bands: Bands of widths as (upper edge in nm, share of the batch); within each, widths are log-uniform.
    """

    smallest_nm: float
    largest_nm: float
    schedule: NoiseSchedule
    uniform_time: float = 0.0
    bands: tuple[tuple[float, float], ...] = BANDS_OF_ATOMS

    def facts(self) -> list[Any]:
        bands = [] if self.bands == BANDS_OF_ATOMS else [list(self.bands)]
        return [self.smallest_nm, self.largest_nm, self.uniform_time, self.schedule.to_dict(), *bands]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        shift = torch.rand((), generator=generator)
        u = (torch.arange(count) + shift) / count
        u = u[torch.randperm(count, generator=generator)]
        widths = self._in_bands(u)
        if self.uniform_time:
            in_time = self.schedule.relative_sigma(u.double().clamp_max(1 - 1e-6)).float()
            chosen = torch.rand(count, generator=generator) < self.uniform_time
            widths = torch.where(chosen, in_time, widths)
        return widths.clamp(self.smallest_nm, self.largest_nm)

    def _in_bands(self, u: Tensor) -> Tensor:
        """Widths at quantiles u in [0, 1): log-uniform within each band."""
        low, high = self.smallest_nm, self.largest_nm
        edges = [low, *(min(max(edge, low), high) for edge, _ in self.bands[:-1]), high]
        widths, start = torch.full_like(u, low), 0.0
        for (_, share), a, b in zip(self.bands, edges[:-1], edges[1:], strict=True):
            inside = (u >= start) & (u < start + share + 1e-6)
            widths = torch.where(inside, a * (b / a) ** ((u - start) / share), widths)
            start += share
        return widths

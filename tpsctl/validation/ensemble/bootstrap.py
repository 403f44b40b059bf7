"""Error bars of measures by resampling whole trajectories, and what sets of simulated paths score themselves.

Error bars of a row are the spread of a measure over draws in which the paths of the ensemble are drawn anew with
replacement, and, independently, the pieces of the simulation, each with all transition paths that begin in it. Few
trajectories are cut into pieces of equal length until there are `LEAST_PIECES`, because fewer than that give no spread.
A resampled set repeats some paths and lacks others, which makes every distance larger; so the interval of the draws is
moved until its median is the measured value.

The row of the simulation itself is what random sets of as many of its paths score against its other paths: sampling
alone costs that much, and no ensemble of this size can be told to be better.

A measure discriminates if the 95 % interval of a control (a straight line, paths without optimization) and that of the
simulation's own sets do not overlap.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13 (percentile intervals).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.validation.ensemble.measures import MEASURES, PathFacts

LEAST_PIECES = 10
LEAST_TRANSITIONS = 6
"""Fewest transition paths with which paths are compared."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A number with its 95 % interval.

    Attributes:
        value: The number.
        low: 2.5 % quantile over the draws.
        high: 97.5 % quantile over the draws.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Float[Tensor, " draw"], *, centered: bool = False) -> "BootstrapEstimate":
        """The estimate with the interval of these draws; draws that are not a number are left out.

        Args:
            value: The number.
            draws: Its value in every draw.
            centered: Whether the median of the draws is moved to the value, because resampling adds to distances.
        """
        known = draws[draws.isfinite()]
        if not len(known):
            return cls(value, float("nan"), float("nan"))
        low, middle, high = known.quantile(torch.tensor([0.025, 0.5, 0.975], dtype=known.dtype)).tolist()
        shift = value - middle if centered else 0.0
        return cls(value, low + shift, high + shift)

    def apart_from(self, other: "BootstrapEstimate") -> bool:
        """Whether the two intervals do not overlap; False if one of them is unknown."""
        return self.low > other.high or other.low > self.high


def pieces_of(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Pieces (trajectory, first frame, frame after the last) of trajectories, at least `LEAST_PIECES` if they are few.

    Trajectories that are cut have pieces of equal length but for rounding.
    """
    parts = max(1, -(-LEAST_PIECES // len(lengths)))
    return [
        (number, length * k // parts, length * (k + 1) // parts)
        for number, length in enumerate(lengths)
        for k in range(parts)
        if length * (k + 1) // parts > length * k // parts
    ]


def resampled(members: Int[Tensor, " path"], groups: int, draws: int, generator: torch.Generator) -> Tensor:
    """Weights (draw, path): how often each path is drawn if whole groups are drawn with replacement.

    Args:
        members: The group of every path.
        groups: Number of groups, those without a path included.
        draws: Number of draws.
        generator: Source of randomness.
    """
    drawn = torch.randint(groups, (draws, groups), generator=generator)
    count = torch.zeros(draws, groups, dtype=torch.float64)
    count.scatter_add_(1, drawn, torch.ones_like(count))
    return count[:, members]


@dataclass(frozen=True)
class Yardstick:
    """The transition paths of the simulation, against which ensembles are measured.

    Attributes:
        paths: Facts of all transition paths.
        groups: The piece of the simulation in which each path begins.
        pieces: Number of pieces.
        draws: Number of draws for error bars.
        seed: Seed of the draws.
    """

    paths: PathFacts
    groups: Int[Tensor, " path"]
    pieces: int
    draws: int
    seed: int

    def row(self, ensemble: PathFacts) -> dict[str, BootstrapEstimate]:
        """Every measure of an ensemble with its error bar."""
        generator = torch.Generator().manual_seed(self.seed)
        own = resampled(torch.arange(len(ensemble)), len(ensemble), self.draws, generator)
        theirs = resampled(self.groups, self.pieces, self.draws, generator)
        usable = theirs.sum(1) > 0
        own, theirs = own[usable], theirs[usable]
        one = torch.ones(1, len(ensemble), dtype=torch.float64), torch.ones(1, len(self.paths), dtype=torch.float64)
        return {
            name: BootstrapEstimate.of(
                float(measure(ensemble, one[0], self.paths, one[1])[0]),
                measure(ensemble, own, self.paths, theirs),
                centered=True,
            )
            for name, measure in MEASURES.items()
        }

    def size_of_sets(self, wanted: int) -> int:
        """How many paths a set of the simulation's own paths can have: at most half of all."""
        return min(wanted, len(self.paths) // 2)

    def own_sets(self, count: int) -> dict[str, BootstrapEstimate]:
        """Mean over random sets of `count` of the paths, measured against all the others, and the spread."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
        for _ in range(self.draws):
            order = torch.randperm(len(self.paths), generator=generator)
            some, others = self.paths.take(order[:count]), self.paths.take(order[count:])
            one = torch.ones(1, len(some), dtype=torch.float64), torch.ones(1, len(others), dtype=torch.float64)
            for name, measure in MEASURES.items():
                found[name].append(measure(some, one[0], others, one[1])[0])
        draws = {name: torch.stack(values) for name, values in found.items()}
        return {name: BootstrapEstimate.of(float(values.nanmean()), values) for name, values in draws.items()}

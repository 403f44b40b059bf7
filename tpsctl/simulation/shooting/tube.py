"""The tube of an ensemble of paths: its axis, its spread, and how far a path lies from the axis.

Paths of different length are aligned by their progress from A to B,

    s(x) = d_A / (d_A + d_B) ,     d_A, d_B the distances of x from the ends in the collective variables,

at their last passage through each of several levels of s, so that detours before the final transit do not count. No
single path, and none that is judged, decides this alignment. The axis at a level is the mean of the points of all paths
there, the spread their root-mean-square distance from it, and the distance of a path is the mean over the levels of

    |x_k - axis_k| / spread_k .

The paths of the ensemble themselves have a root-mean-square distance of 1. Angles enter as (cos, sin).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = 15


@dataclass(frozen=True)
class Tube:
    """Axis and spread at levels of progress.

    Attributes:
        ends: Both ends in the collective variables.
        levels: The levels, between the progress of the last path to leave A and of the first to enter B.
        axis: Mean point of the paths at every level.
        spread: Root-mean-square distance of the paths from the axis.
    """

    ends: Float[Tensor, "2 d"]
    levels: Float[Tensor, " level"]
    axis: Float[Tensor, "level d"]
    spread: Float[Tensor, " level"]

    @classmethod
    def around(
        cls, paths: Sequence[Float[Tensor, "_ d"]], weights: Sequence[float], ends: Float[Tensor, "2 d"]
    ) -> "Tube":
        """The tube of paths from A to B, each with its weight."""
        low = max(float(progress(path[:1], ends)) for path in paths)
        high = min(float(progress(path[-1:], ends)) for path in paths)
        levels = torch.linspace(low, high, LEVELS, dtype=ends.dtype)
        points = torch.stack([last_passages(path, ends, levels) for path in paths])
        share = torch.tensor(weights, dtype=ends.dtype).div(sum(weights)).view(-1, 1, 1)
        axis = (share * points).sum(0)
        return cls(ends, levels, axis, (share * (points - axis).square()).sum((0, 2)).sqrt())

    def points(self, path: Float[Tensor, "image d"]) -> Float[Tensor, "level d"]:
        """Where a path passes every level for the last time."""
        return last_passages(path, self.ends, self.levels)

    def distances(self, path: Float[Tensor, "image d"]) -> Float[Tensor, " level"]:
        """Distance of a path from the axis at every level, in units of the spread."""
        return (self.points(path) - self.axis).norm(dim=1) / self.spread


def progress(x: Float[Tensor, "frame d"], ends: Float[Tensor, "2 d"]) -> Float[Tensor, " frame"]:
    """s(x), from 0 in end A to 1 in end B."""
    away = torch.stack([(x - end).norm(dim=1) for end in ends])
    return away[0] / away.sum(0)


def last_passages(
    path: Float[Tensor, "frame d"], ends: Float[Tensor, "2 d"], levels: Float[Tensor, " level"]
) -> Float[Tensor, "level d"]:
    """The points where a path passes levels of progress upwards for the last time, on lines between its frames."""
    s = progress(path, ends)
    below = s.unsqueeze(0) <= levels.unsqueeze(1)
    last = (len(path) - 1 - below.flip(1).to(torch.int8).argmax(1)).clamp(max=len(path) - 2)
    share = ((levels - s[last]) / (s[last + 1] - s[last]).clamp_min(1e-300)).clamp(0, 1).unsqueeze(1)
    return path[last] + share * (path[last + 1] - path[last])

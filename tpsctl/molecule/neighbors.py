"""Pairs of points that are close to each other, found with a grid of cells in time proportional to their number."""

import itertools

import numpy as np
from jaxtyping import Float, Int

_HALF_OF_THE_CELLS_AROUND = [shift for shift in itertools.product((-1, 0, 1), repeat=3) if shift >= (0, 0, 0)]
"""The cell itself, and one of each two opposite neighbors of a cell."""

_MOST_CELLS = 2.0**40
"""Largest number of cells along an axis; all points beyond it are in one cell."""


def close_pairs(x: Float[np.ndarray, "point 3"], radius: float) -> Int[np.ndarray, "pair 2"]:
    """Find all pairs (i, j), i < j, of finite points that are at most `radius` apart; without periodic copies.

    Args:
        x: Positions, in the unit of `radius`.
        radius: Largest distance of a pair, > 0.
    """
    if len(x) < 2:
        return np.empty((0, 2), dtype=np.int64)
    cells = np.clip(np.floor((x - x.min(0)) / radius), 0, _MOST_CELLS).astype(np.int64) + 1
    size = cells.max(0) + 2
    key = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    found = []
    for shift in _HALF_OF_THE_CELLS_AROUND:
        other = key + (shift[0] * size[1] + shift[1]) * size[2] + shift[2]
        first, last = np.searchsorted(sorted_key, other, "left"), np.searchsorted(sorted_key, other, "right")
        i = np.repeat(np.arange(len(x)), last - first)
        j = order[np.repeat(first, last - first) + _counted_anew(last - first)]
        if shift == (0, 0, 0):
            i, j = i[i < j], j[i < j]
        near = np.linalg.norm(x[i] - x[j], axis=1) <= radius
        found.append(np.stack([np.minimum(i, j), np.maximum(i, j)], 1)[near])
    return np.unique(np.concatenate(found), axis=0)


def _counted_anew(counts: Int[np.ndarray, " group"]) -> Int[np.ndarray, " member"]:
    """The numbers 0, 1, ... of the members of every group, one group after the other."""
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) - np.repeat(ends - counts, counts)

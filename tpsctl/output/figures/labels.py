"""Numbers at points of a figure, moved so that they cover neither one another nor the lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import BboxBase

FONT_SIZE = 8.0
GAP_POINTS = 5.0
"""Distance of a number from its point."""

_DIRECTIONS = ((0.0, 1.0), (0.7, 0.7), (-0.7, 0.7), (1.0, 0.1), (-1.0, 0.1), (0.7, -0.7), (-0.7, -0.7), (0.0, -1.0))
"""Where a number may stand beside its point, the preferred place first."""

_RINGS = (1.0, 2.5, 4.5, 7.0)
"""Distances, as multiples of `GAP_POINTS`, that are tried one after another."""


_Box = tuple[float, float, float, float]
"""Left, lower, right and upper edge, pixels."""


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point of the axes.

    Attributes:
        text: What is written.
        x: Position of the point on the horizontal axis.
        y: Position on the vertical axis.
        color: Color of the text.
    """

    text: str
    x: float
    y: float
    color: str


def place_labels(
    figure: "Figure", axes: "Axes", labels: Sequence[Label], *, lines: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write every label beside its point, in the place where it covers least; far ones are joined to it by a thin line.

    The limits of the axes, and everything outside them that takes room, must be set before.

    Args:
        figure: The figure of the axes.
        axes: Where to write.
        labels: The labels; earlier ones choose first.
        lines: x and y of the lines that should not be covered.
    """
    figure.draw_without_rendering()  # the layout decides how large the axes are
    pixels = figure.dpi / 72
    covered = np.concatenate([np.zeros((0, 2)), *(_dense(axes, x, y) for x, y in lines)])
    taken: list[_Box] = []
    for label in labels:
        size = np.array([0.66 * len(label.text), 1.05]) * FONT_SIZE * pixels
        point = np.array(axes.transData.transform((label.x, label.y)))
        places = list(_places(point, size, GAP_POINTS * pixels))
        costs = [_cost(box, taken, covered, axes.get_window_extent()) + distance for box, distance in places]
        box = places[int(np.argmin(costs))][0]
        taken.append(box)
        shift = (np.array([box[0] + box[2], box[1] + box[3]]) / 2 - point) / pixels
        away = np.hypot(*shift) > 4 * GAP_POINTS
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(shift[0], shift[1]),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=FONT_SIZE,
            color=label.color,
            zorder=7,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": label.color} if away else None,
        )


def _places(point: np.ndarray, size: np.ndarray, gap: float) -> Iterator[tuple[_Box, float]]:
    """Boxes beside a point, each with a small cost that grows with the distance from the preferred place."""
    for far in _RINGS:
        for order, direction in enumerate(_DIRECTIONS):
            middle = point + np.array(direction) * (far * gap + size / 2)
            low, high = middle - size / 2, middle + size / 2
            yield (float(low[0]), float(low[1]), float(high[0]), float(high[1])), far + 0.1 * order


def _dense(axes: "Axes", x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points in pixels all along a line, for tests of what a label covers."""
    known = np.isfinite(x) & np.isfinite(y)
    points = axes.transData.transform(np.stack((x[known], y[known]), 1)) if known.any() else np.zeros((0, 2))
    if len(points) < 2:
        return points
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate(([0.0], steps.cumsum()))
    wanted = np.arange(0.0, along[-1], 3.0)
    return np.stack([np.interp(wanted, along, points[:, k]) for k in range(2)], 1)


def _cost(box: _Box, taken: Sequence[_Box], covered: np.ndarray, inside: "BboxBase") -> float:
    """How bad a place is: other labels count most, then the edge of the axes, then lines."""
    left, low, right, high = box
    overlaps = sum(1 for other in taken if left < other[2] and other[0] < right and low < other[3] and other[1] < high)
    outside = left < inside.x0 or low < inside.y0 or right > inside.x1 or high > inside.y1
    x, y = covered.T
    hidden = int(((x > left) & (x < right) & (y > low) & (y < high)).sum())
    return 1e4 * overlaps + 1e3 * outside + 2.0 * hidden

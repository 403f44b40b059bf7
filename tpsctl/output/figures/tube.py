"""A figure of the tube of an ensemble of transition paths, with the path that it judges."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from tpsctl.output.figures.canvas import BLUE, GRAY, RED, figure_files, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_VARIABLES = 8
"""Most collective variables in the figure: those that change most along the axis."""

_COLUMNS = 3


@dataclass(frozen=True)
class TubeCourse:
    """A tube and a path.

    Attributes:
        names: The collective variables.
        angles: Whether they are angles in degrees; else they are in nm.
        levels: Levels of progress, from 0 in A to 1 in B.
        mean: Mean of every variable over the ensemble at every level.
        deviation: Its standard deviation.
        path_progress: Progress of every image of the path.
        path: Variables of every image of the path.
        distances: Distance from the axis in spreads at every level, by the name of a path; the judged one is first.
        members: 5th percentile, median and 95th percentile of the mean distances of the ensemble's own paths.
        accepted: Number of accepted paths.
    """

    names: tuple[str, ...]
    angles: bool
    levels: Float[np.ndarray, " level"]
    mean: Float[np.ndarray, "level cv"]
    deviation: Float[np.ndarray, "level cv"]
    path_progress: Float[np.ndarray, " image"]
    path: Float[np.ndarray, "image cv"]
    distances: Mapping[str, Float[np.ndarray, " level"]]
    members: tuple[float, float, float]
    accepted: int

    @property
    def unit(self) -> str:
        return "degrees" if self.angles else "nm"

    def most_changed(self) -> list[int]:
        """The variables that change most along the axis, in their own order."""
        change = np.ptp(self._followed(self.mean), axis=0)
        return sorted(np.argsort(-change, kind="stable")[:MOST_VARIABLES].tolist())

    def axis(self, variable: int) -> Float[np.ndarray, " level"]:
        """The mean of a variable, followed over the edge at 180 degrees."""
        return self._followed(self.mean[:, variable])

    def along_path(self, variable: int) -> Float[np.ndarray, " image"]:
        """A variable along the path, followed over the edge, in the same turn as the axis."""
        values = self._followed(self.path[:, variable])
        if not self.angles:
            return values
        inside = (self.path_progress >= self.levels[0]) & (self.path_progress <= self.levels[-1])
        away = np.interp(self.path_progress, self.levels, self.axis(variable)) - values
        return values + 360.0 * np.round(np.median(away[inside] if inside.any() else away) / 360.0)

    def _followed(self, values: np.ndarray) -> np.ndarray:
        return np.unwrap(values, period=360.0, axis=0) if self.angles else values


def tube(stem: Path, course: TubeCourse, *, title: str) -> list[Path]:
    """Draw the tube in its collective variables, the path in it, and how far the path and controls are from its axis.

    Two variables also get their plane. Bands and ellipses are one standard deviation of the ensemble wide.

    Args:
        stem: File name without suffix.
        course: The tube and the path.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    shown = course.most_changed()
    plane = course.mean.shape[1] == 2
    panels = len(shown) + plane + 1
    columns = min(panels, 2 if panels == 4 else _COLUMNS)
    rows = -(-panels // columns)
    with figure_files(stem, 3.5 * columns, 3.0 * rows + 0.6) as (figure, files):
        places = [figure.add_subplot(rows, columns, k + 1) for k in range(panels)]
        if plane:
            _draw_plane(places.pop(0), course)
        _draw_distances(places.pop(), course)
        for axes, variable in zip(places, shown, strict=True):
            _draw_variable(axes, course, variable)
        figure.suptitle(f"{title}: {course.accepted} transition paths")
        handles, names = figure.axes[plane].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8)
    return files


def _draw_variable(axes: "Axes", course: TubeCourse, variable: int) -> None:
    middle, width = course.axis(variable), course.deviation[:, variable]
    axes.fill_between(
        course.levels,
        middle - width,
        middle + width,
        color=GRAY,
        alpha=0.25,
        linewidth=0,
        label="one standard deviation",
    )
    axes.plot(course.levels, middle, color=GRAY, linewidth=1.4, linestyle=(0, (4, 2)), label="mean of the ensemble")
    axes.plot(
        course.path_progress,
        course.along_path(variable),
        color=BLUE,
        linewidth=1.4,
        marker="o",
        markersize=2,
        label="path",
    )
    axes.set(xlim=(0, 1), xlabel="progress from A to B", ylabel=f"{course.names[variable]}  ({course.unit})")


def _draw_plane(axes: "Axes", course: TubeCourse) -> None:
    from matplotlib.patches import Ellipse

    x, y = course.axis(0), course.axis(1)
    for a, b, width, height in zip(x, y, *(2 * course.deviation.T), strict=True):
        axes.add_patch(Ellipse((a, b), width, height, facecolor=GRAY, alpha=0.16, linewidth=0))
    axes.plot(x, y, color=GRAY, linewidth=1.4, linestyle=(0, (4, 2)))
    path = course.along_path(0), course.along_path(1)
    axes.plot(*path, color=BLUE, linewidth=1.4, marker="o", markersize=2)
    for name, image in (("A", 0), ("B", -1)):
        axes.annotate(
            name, (path[0][image], path[1][image]), xytext=(4, 4), textcoords="offset points", weight="bold", fontsize=9
        )
    axes.set(xlabel=f"{course.names[0]}  ({course.unit})", ylabel=f"{course.names[1]}  ({course.unit})")


def _draw_distances(axes: "Axes", course: TubeCourse) -> None:
    low, _, high = course.members
    axes.axhspan(low, high, color=GRAY, alpha=0.25, linewidth=0)
    for number, (name, values) in enumerate(course.distances.items()):
        style: dict[str, Any] = {"color": BLUE} if not number else {"color": RED} | _dashes(number)
        axes.plot(course.levels, values, linewidth=1.4, label=name, **style)
    axes.set(xlim=(0, 1), xlabel="progress from A to B", ylabel="distance from the axis (spreads)")
    axes.set_ylim(bottom=0)
    words = "gray: means of 90 % of the ensemble's own paths"
    alone = "with a single variable, distances say nothing"
    axes.set_title(words if len(course.names) > 1 else alone, loc="left", fontsize=8)
    axes.legend(fontsize=7)


def _dashes(number: int) -> dict[str, Any]:
    return {"linestyle": series_style(number)["linestyle"]}

"""Torsions and ring puckers along the paths of routes, one row per route."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import GRAY, as_array, figure_files, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class RouteTorsions:
    """Angles along the path of one route.

    Attributes:
        name: Title of the row, e.g. "route 1: 36.4 kJ/mol".
        arc_length: Distance of every image from A along the path in mass-weighted coordinates, sqrt(amu) nm.
        angles: Every angle at all images by its name, rad; NaN where it is undefined. All routes have the same names.
        minima: Numbers of the images that are minima.
        saddles: Numbers of the images that are saddles.
    """

    name: str
    arc_length: Float[Tensor, " image"]
    angles: Mapping[str, Float[Tensor, " image"]]
    minima: tuple[int, ...] = ()
    saddles: tuple[int, ...] = ()


def torsions(
    stem: Path, routes: Sequence[RouteTorsions], *, title: str, distance: str = "arc length (√amu nm)"
) -> list[Path]:
    """Draw angles against arc length, one row per route and one line per angle, with minima and saddles marked.

    Angles lie between -180 and 180 degrees; where one leaves this range, its line goes on at the other side.

    Args:
        stem: File name without suffix.
        routes: The routes, best first; at least one.
        title: Title of the figure.
        distance: Name and unit of the distance along the paths.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    names = list(dict.fromkeys(name for route in routes for name in route.angles))
    height = 0.9 + 2.0 * len(routes) + 0.2 * (len(names) // 3 + 1)
    with figure_files(stem, 7.0, max(height, 3.6)) as (figure, files):
        rows = figure.subplots(len(routes), 1, squeeze=False)[:, 0]
        for axes, route in zip(rows, routes, strict=True):
            _draw(axes, route, names)
        rows[-1].set_xlabel(distance)
        figure.suptitle(title)
        handles, shown = rows[0].get_legend_handles_labels()
        columns = 2 if max(map(len, names), default=0) > 24 else 3
        figure.legend(handles, shown, loc="outside lower center", ncols=columns, fontsize=8)
    return files


def _draw(axes: "Axes", route: RouteTorsions, names: Sequence[str]) -> None:
    x = as_array(route.arc_length)
    for number, name in enumerate(names):
        if name in route.angles:
            degrees = np.rad2deg(as_array(route.angles[name]))
            axes.plot(*wrapped_line(x, degrees), linewidth=1.5, label=name, **series_style(number))
    for images, dashes, label in ((route.minima, ":", "minimum"), (route.saddles, "-", "saddle")):
        for number, image in enumerate(images):
            axes.axvline(x[image], color=GRAY, linewidth=0.7, linestyle=dashes, label=None if number else label)
    axes.set(ylim=(-180, 180), yticks=np.arange(-180, 181, 90), ylabel="angle (degrees)")
    axes.set_xlim(float(x[0]), float(x[-1]))
    axes.set_title(route.name, loc="left")


def wrapped_line(x: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line of angles, degrees, that has a gap where it leaves the range and continues on the other side.

    At a crossing the line goes on to the next point beyond the edge, and comes from the last point beyond the other
    edge; the axes cut off what lies beyond.
    """
    xs, ys = [x[:1]], [degrees[:1]]
    for i in range(1, len(x)):
        step = degrees[i] - degrees[i - 1]
        if abs(step) > 180.0:
            nearest = step - 360.0 * round(step / 360.0)
            xs.append(np.array([x[i], np.nan, x[i - 1]]))
            ys.append(np.array([degrees[i - 1] + nearest, np.nan, degrees[i] - nearest]))
        xs.append(x[i : i + 1])
        ys.append(degrees[i : i + 1])
    return np.concatenate(xs), np.concatenate(ys)

"""Energy of routes against the arc length of their paths, with minima and saddles marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import as_array, figure_files, series_style
from tpsctl.output.figures.labels import Label, place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME_SADDLE = 0.01
"""Saddles of two routes whose energies differ by less than this, kJ/mol, are taken for the same one."""


@dataclass(frozen=True)
class RouteProfile:
    """Energies along the path of one route.

    Attributes:
        name: Name for the legend, e.g. "route 1: 36.4 kJ/mol, found 12 times".
        arc_length: Distance of every image from A along the path in mass-weighted coordinates, sqrt(amu) nm.
        above_start: Energy of every image above A, kJ/mol.
        minima: Numbers of the images that are minima.
        saddles: Numbers of the images that are saddles.
    """

    name: str
    arc_length: Float[Tensor, " image"]
    above_start: Float[Tensor, " image"]
    minima: tuple[int, ...]
    saddles: tuple[int, ...]


def arc_length(stem: Path, profiles: Sequence[RouteProfile], *, title: str) -> list[Path]:
    """Draw the energy of every route against arc length, one color per route, with the saddles' energies as numbers.

    A saddle that several routes share has its number on the best of them.

    Args:
        stem: File name without suffix.
        profiles: The routes, best first.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    with figure_files(stem, 7.0, 4.4 + 0.09 * len(profiles)) as (figure, files):
        axes = figure.subplots()
        for number, profile in enumerate(profiles):
            _draw(axes, number, profile)
        for marker, fill, name in (("o", "white", "minimum"), ("D", "black", "saddle")):
            axes.plot([], [], marker, markersize=5, color="black", markerfacecolor=fill, label=name)
        axes.set(xlabel="arc length (√amu nm)", ylabel="E − E(A)  (kJ/mol)", title=title)
        _set_limits(axes, profiles)
        figure.legend(loc="outside lower center", ncols=2 if len(profiles) > 2 else 1, fontsize=8)
        place_labels(figure, axes, _saddle_labels(profiles), lines=[_points(profile) for profile in profiles])
    return files


def _points(profile: RouteProfile) -> tuple[np.ndarray, np.ndarray]:
    return as_array(profile.arc_length), as_array(profile.above_start)


def _draw(axes: "Axes", number: int, profile: RouteProfile) -> None:
    """Draw the line of one route with circles at its minima and diamonds at its saddles; the best one lies on top."""
    x, y = _points(profile)
    style = series_style(number)
    axes.plot(x, y, linewidth=1.2 if number else 1.8, zorder=4 - number / 100, label=profile.name, **style)
    for images, marker, size in ((profile.minima, "o", 5), (profile.saddles, "D", 4.5)):
        at = list(images)
        axes.plot(
            x[at],
            y[at],
            marker,
            markersize=size,
            color=style["color"],
            markerfacecolor="white" if marker == "o" else style["color"],
            zorder=5 - number / 100,
            linestyle="none",
        )


def _saddle_labels(profiles: Sequence[RouteProfile]) -> list[Label]:
    """The energies of all saddles; one that several routes share is labeled on the best of them."""
    labels: list[Label] = []
    known: list[float] = []
    for number, profile in enumerate(profiles):
        x, y = _points(profile)
        own = [i for i in profile.saddles if np.isfinite(y[i])]
        new = [i for i in own if not any(abs(y[i] - energy) < SAME_SADDLE for energy in known)]
        color = series_style(number)["color"]
        labels += [Label(f"{y[i]:.1f}", float(x[i]), float(y[i]), color) for i in new]
        known += [float(y[i]) for i in own]
    return labels


def _set_limits(axes: "Axes", profiles: Sequence[RouteProfile]) -> None:
    """Leave room above the highest point for numbers; energies that are not finite do not count."""
    heights = np.concatenate([as_array(profile.above_start) for profile in profiles] or [np.zeros(1)])
    heights = heights[np.isfinite(heights)] if np.isfinite(heights).any() else np.zeros(1)
    low, high = float(heights.min()), float(heights.max())
    span = max(high - low, 1e-6)
    longest = max((float(profile.arc_length[-1]) for profile in profiles), default=1.0)
    axes.set(xlim=(-0.02 * longest, 1.02 * longest), ylim=(low - 0.06 * span, high + 0.18 * span))

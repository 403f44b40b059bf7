"""Figures of a comparison: paths over the slow coordinates of a simulation, and every measure with its error bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import GRAY, RED, as_array, figure_files, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_MOST_DRAWN = 16


def comparison(
    stem: Path,
    density: Float[Tensor, "frame dim"],
    paths: Mapping[str, Sequence[Float[Tensor, "image dim"]]],
    measures: Mapping[str, Mapping[str, tuple[float, float, float]]],
    discriminates: Mapping[str, str],
    *,
    title: str,
) -> list[Path]:
    """Draw the paths of every ensemble over the density of the simulation, and one panel per measure.

    Args:
        stem: File name without suffix.
        density: Slow coordinates of frames of the simulation; the first two are drawn.
        paths: Slow coordinates of the paths of every ensemble.
        measures: By measure and ensemble, value and limits of the 95 % interval; the last ensemble is the simulation.
        discriminates: By measure, which controls it tells from the simulation, in words.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    rows = 1 + -(-(len(measures) + 1) // _COLUMNS)
    with figure_files(stem, 11.0, 2.6 * rows + 0.4) as (figure, files):
        grid = figure.add_gridspec(rows, _COLUMNS)
        for k, (name, of_ensemble) in enumerate(list(paths.items())[:_COLUMNS]):
            _map(figure.add_subplot(grid[0, k]), name, as_array(density), of_ensemble)
        for k, (name, of_measure) in enumerate(measures.items()):
            axes = figure.add_subplot(grid[1 + k // _COLUMNS, k % _COLUMNS])
            _intervals(axes, of_measure)
            axes.set_title(f"{name.replace('_', ' ')}\ntells apart: {discriminates[name]}", fontsize=7)
        figure.suptitle(title)
    return files


def highest_energies(stem: Path, above_start: Mapping[str, Float[Tensor, " path"]], *, title: str) -> list[Path]:
    """Draw the highest energy of every path of every ensemble, kJ/mol above its start, on a logarithmic axis.

    Args:
        stem: File name without suffix.
        above_start: Highest energy above the start of every path, kJ/mol, by ensemble.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    with figure_files(stem, 5.2, 3.4) as (figure, files):
        axes = figure.subplots()
        for place, values in enumerate(above_start.values()):
            energy = as_array(values)
            known = energy[np.isfinite(energy) & (energy > 0)]
            axes.plot(np.full(len(known), place), known, "o", markersize=4, alpha=0.6, **_color(place))
        axes.set_xticks(range(len(above_start)), [name.replace(" (", "\n(") for name in above_start], fontsize=7)
        axes.set(yscale="log", ylabel="highest E − E(A)  (kJ/mol)")
        figure.suptitle(title)
    return files


def _map(axes: "Axes", name: str, density: np.ndarray, paths: Sequence[Tensor]) -> None:
    plane = _plane(density)
    axes.hexbin(plane[:, 0], plane[:, 1], gridsize=35, bins="log", cmap="Greys", mincnt=1, linewidths=0.1)
    for path in paths[:_MOST_DRAWN]:
        x = _plane(as_array(path))
        axes.plot(x[:, 0], x[:, 1], color=RED, linewidth=0.8, alpha=0.7)
    axes.set_title(name, fontsize=8)
    axes.set(xlabel="slow coordinate 1", ylabel="slow coordinate 2")


def _plane(values: np.ndarray) -> np.ndarray:
    """The first two coordinates; a missing second one is 0."""
    return np.pad(values, ((0, 0), (0, max(0, 2 - values.shape[1]))))[:, :2]


def _intervals(axes: "Axes", rows: Mapping[str, tuple[float, float, float]]) -> None:
    names = list(rows)
    for place, (value, low, high) in enumerate(rows.values()):
        if not np.isfinite(value):
            continue
        style: dict[str, Any] = {"color": GRAY} if place == len(names) - 1 else _color(place)
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [place, place], "-", linewidth=1.6, **style)
        axes.plot([value], [place], "o", markersize=4, **style)
    _, low, high = list(rows.values())[-1]
    if np.isfinite([low, high]).all():
        axes.axvspan(low, high, color=GRAY, alpha=0.15, linewidth=0)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.invert_yaxis()


def _color(place: int) -> dict[str, Any]:
    return {"color": series_style(place)["color"]}

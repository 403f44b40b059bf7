"""Paths of a two-dimensional model system on the contours of its potential."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import RED, as_array, cross_highest, figure_files, legend_below, mark_ends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def contour(
    stem: Path,
    paths: Float[Tensor, "path image 1 2"],
    energy_fn: Callable[[Float[Tensor, "point 1 2"]], Float[Tensor, " point"]],
    *,
    title: str,
    unit: str = "kJ/mol",
) -> list[Path]:
    """Draw the paths of a two-dimensional model system on the contours of its potential.

    Args:
        stem: File name without suffix.
        paths: All images, nm.
        energy_fn: The potential: points (point, 1, 2), nm -> energies (point,) in `unit`.
        title: Title of the figure.
        unit: Unit of the energies, for the labels.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    x, y = as_array(paths[..., 0, 0]), as_array(paths[..., 0, 1])
    energy = as_array(energy_fn(paths.flatten(0, 1)).reshape(paths.shape[:2]))
    with figure_files(stem, 6.0, 4.6) as (figure, files):
        axes = figure.subplots()
        axes.grid(visible=False)
        _draw_potential(figure, axes, x, y, energy, energy_fn, unit)
        for one_x, one_y in zip(x, y, strict=True):
            axes.plot(one_x, one_y, color="white", linewidth=2.4, alpha=0.8, zorder=2)
            axes.plot(one_x, one_y, color=RED, linewidth=1.1, marker=".", markersize=3, zorder=3)
        cross_highest(axes, x, y, energy)
        mark_ends(axes, x, y)
        axes.set(xlabel="x (nm)", ylabel="y (nm)", title=title)
        legend_below(axes)
    return files


def _draw_potential(
    figure: "Figure",
    axes: "Axes",
    x: np.ndarray,
    y: np.ndarray,
    energy: np.ndarray,
    energy_fn: Callable[[Tensor], Tensor],
    unit: str,
) -> None:
    """Filled contours around the paths, up to somewhat more than the paths' highest energy."""
    from matplotlib.ticker import MaxNLocator

    grid_x, grid_y = (np.linspace(*_margin(values), 160) for values in (x, y))
    points = torch.from_numpy(np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 1, 2))
    with torch.no_grad():
        potential = as_array(energy_fn(points)).reshape(160, 160)
    low = float(potential.min())
    top = float(np.nanmax(energy))
    levels = MaxNLocator(24).tick_values(low, top + 0.5 * (top - low))
    filled = axes.contourf(grid_x, grid_y, potential, levels=levels, cmap="viridis", extend="max")
    axes.contour(
        grid_x, grid_y, potential, levels=levels, colors="white", linewidths=0.3, alpha=0.6, linestyles="solid"
    )
    figure.colorbar(filled, ax=axes, label=f"potential energy ({unit})")


def _margin(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    extra = 0.25 * max(high - low, 1e-6)
    return low - extra, high + extra

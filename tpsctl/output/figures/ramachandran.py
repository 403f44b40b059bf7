"""A figure of paths in the plane of two backbone dihedrals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.background import Background, draw_background
from tpsctl.output.figures.canvas import (
    as_array,
    ceiling_of,
    cross_highest,
    figure_files,
    legend_below,
    mark_ends,
    path_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ramachandran(
    stem: Path,
    phi: Float[Tensor, "path image"],
    psi: Float[Tensor, "path image"],
    *,
    title: str,
    above_start: Float[Tensor, "path image"] | None = None,
    background: Background | None = None,
    groups: Sequence[int] | None = None,
    valid: Sequence[bool] | None = None,
) -> list[Path]:
    """Draw paths in the (phi, psi) plane with marked ends, images colored by energy and crosses on the highest ones.

    Args:
        stem: File name without suffix.
        phi: Dihedral phi of every image, rad.
        psi: Dihedral psi of every image, rad.
        title: Title of the figure, e.g. with the residue.
        above_start: E - E(A) of each image, kJ/mol; None for no colors and no crosses.
        background: A free energy to draw behind the paths; None for none.
        groups: Number of the channel or route of every path, which decides the color of its line; None for gray.
        valid: Whether every path passed the gate, and is drawn without dashes; None for all.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    x, y = as_array(phi.rad2deg()), as_array(psi.rad2deg())
    with figure_files(stem, 5.8 if above_start is not None or background is not None else 4.8, 4.6) as (figure, files):
        axes = figure.subplots()
        if background is not None:
            draw_background(figure, axes, background)
        for k, (one_x, one_y) in enumerate(zip(x, y, strict=True)):
            style = path_style(None if groups is None else groups[k], valid=valid is None or valid[k])
            width = 0.6 if groups is None else 5.0  # wider than the dots of the images
            axes.plot(
                *unwrapped_pieces(one_x, one_y),
                linewidth=width,
                alpha=0.7 if groups is None else 0.4,
                zorder=2,
                **style,
            )
        if above_start is not None:
            _draw_images(figure, axes, x, y, as_array(above_start), "E − E(A)  (kJ/mol)")
        mark_ends(axes, x, y)
        ticks = np.arange(-180, 181, 60)
        axes.set(xlim=(-180, 180), ylim=(-180, 180), xticks=ticks, yticks=ticks, aspect="equal", title=title)
        axes.set(xlabel="φ (degrees)", ylabel="ψ (degrees)")
        legend_below(axes)
    return files


def slow_coordinates(
    stem: Path,
    x: Float[np.ndarray, "path image"],
    y: Float[np.ndarray, "path image"],
    background: Background,
    *,
    title: str,
    above_start: Float[np.ndarray, "path image"] | None = None,
    groups: Sequence[int] | None = None,
    valid: Sequence[bool] | None = None,
) -> list[Path]:
    """Draw paths over the free energy of a simulation in the plane of its two slowest coordinates.

    Args:
        stem: File name without suffix.
        x: First slow coordinate of every image.
        y: Second slow coordinate of every image.
        background: The free energy.
        title: Title of the figure.
        above_start: E - E(A) of each image, kJ/mol; None for no colors and no crosses.
        groups: Number of the channel or route of every path, which decides the color of its line; None for gray.
        valid: Whether every path passed the gate, and is drawn without dashes; None for all.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    with figure_files(stem, 6.4, 4.6) as (figure, files):
        axes = figure.subplots()
        draw_background(figure, axes, background)
        for k, (one_x, one_y) in enumerate(zip(x, y, strict=True)):
            style = path_style(None if groups is None else groups[k], valid=valid is None or valid[k])
            axes.plot(one_x, one_y, linewidth=1.0, alpha=0.7, zorder=2, **style)
        if above_start is not None:
            _draw_images(figure, axes, x, y, above_start, "E − E(A)  (kJ/mol)")
        mark_ends(axes, x, y)
        axes.set(title=title, xlabel="slowest coordinate (TICA)", ylabel="second slowest coordinate (TICA)")
        legend_below(axes)
    return files


def unwrapped_pieces(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A periodic path (degrees) as one line with gaps, continued on the other side where it leaves the square."""
    xs, ys = [x[:1]], [y[:1]]
    for i in range(1, len(x)):
        dx, dy = (_nearest(b - a) for a, b in ((x[i - 1], x[i]), (y[i - 1], y[i])))
        if dx != x[i] - x[i - 1] or dy != y[i] - y[i - 1]:
            xs.append(np.array([x[i - 1] + dx, np.nan, x[i] - dx]))
            ys.append(np.array([y[i - 1] + dy, np.nan, y[i] - dy]))
        xs.append(x[i : i + 1])
        ys.append(y[i : i + 1])
    return np.concatenate(xs), np.concatenate(ys)


def _nearest(difference: float) -> float:
    """A difference of angles, degrees, brought into half a turn; one that is in it already is returned unrounded."""
    return difference - 360.0 * round(difference / 360.0) if abs(difference) > 180.0 else difference


def _draw_images(figure: "Figure", axes: "Axes", x: np.ndarray, y: np.ndarray, energy: np.ndarray, label: str) -> None:
    shown = np.isfinite(energy)
    points = axes.scatter(
        x[shown], y[shown], c=energy[shown], s=9, cmap="viridis", vmax=ceiling_of(energy), linewidths=0, zorder=3
    )
    figure.colorbar(points, ax=axes, label=label, shrink=0.75, extend="max")
    cross_highest(axes, x, y, energy)

"""Energies along the paths, one panel for each kind of energy."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import (
    BLUE,
    RED,
    as_array,
    ceiling_of,
    count,
    figure_files,
    highest_images,
    line_style,
    tops_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KIND_COLORS = {"raw": BLUE, "minimized": RED}


def energy_profile(
    stem: Path, above_start: Mapping[str, Float[Tensor, "path image"]], *, title: str, unit: str = "kJ/mol"
) -> list[Path]:
    """Draw E - E(A) of all paths against the fraction of the path, one panel per kind of energy.

    Args:
        stem: File name without suffix.
        above_start: E - E(A) of every image in `unit`, by kind ("raw", "minimized").
        title: Title of the figure.
        unit: Unit of the energies, for the labels.

    Returns:
        The files written: PNG and SVG.
    """
    kinds = {name: as_array(values) for name, values in above_start.items()}
    ceiling = max(ceiling_of(values) for values in kinds.values())
    with figure_files(stem, 4.2 * len(kinds) + 0.6, 3.4) as (figure, files):
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, (name, energy) in zip(panels, kinds.items(), strict=True):
            _profiles(axes, name, energy, ceiling, unit)
            axes.set(xlabel="fraction of the path", xlim=(0, 1))
        panels[0].set_ylabel(f"E − E(A)  ({unit})")
        lowest = min(float(np.nanmin(values, initial=0.0)) for values in kinds.values())
        panels[0].set_ylim(lowest - 0.05 * ceiling, 1.05 * ceiling)
        figure.suptitle(title)
    return files


def _profiles(axes: "Axes", name: str, energy: np.ndarray, ceiling: float, unit: str) -> None:
    """Draw the lines of one panel with dots on their highest images; the panel's title sums them up in words."""
    color = _KIND_COLORS.get(name, BLUE)
    fraction = np.linspace(0, 1, energy.shape[1])
    axes.plot(fraction, energy.T, color=color, **line_style(len(energy)))
    tops = tops_of(energy)
    known = np.isfinite(tops)
    where = fraction[highest_images(energy)]
    axes.plot(where[known], tops[known], "o", color=color, markersize=3.5, markeredgecolor="white", markeredgewidth=0.4)
    lines = [f"{name}, {count(len(energy), 'path')}"]
    if known.any():
        median, worst = _short(np.median(tops[known])), _short(tops[known].max())
        lines.append(
            f"highest: median {median}, worst {worst} {unit}" if len(energy) > 1 else f"highest: {worst} {unit}"
        )
    if beyond := int((tops[known] > ceiling).sum()):
        lines.append(f"{count(beyond, 'path')} beyond this axis")
    if unknown := int((~known).sum()):
        lines.append(f"{count(unknown, 'path')} with images without an energy")
    axes.set_title("\n".join(lines), loc="left")


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e4 else f"{value:.1e}"

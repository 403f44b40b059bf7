"""Energies along the paths, one panel for each kind of energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    path_style,
    tops_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KIND_COLORS = {"raw": BLUE, "minimized": RED}
_MOST_CHANNELS = 4
"""Most channels or routes that the title of a panel sums up."""


def energy_profile(
    stem: Path,
    above_start: Mapping[str, Float[Tensor, "path image"]],
    *,
    title: str,
    unit: str = "kJ/mol",
    groups: Sequence[int] | None = None,
    group_word: str = "channel",
    valid: Sequence[bool] | None = None,
) -> list[Path]:
    """Draw E - E(A) of all paths against the fraction of the path, one panel per kind of energy.

    If there are several channels, each has its color and its own median; no median is taken over different channels.

    Args:
        stem: File name without suffix.
        above_start: E - E(A) of every image in `unit`, by kind ("raw", "minimized").
        title: Title of the figure.
        unit: Unit of the energies, for the labels.
        groups: Number of the channel or route of every path; None for one channel.
        group_word: What a group is called, "channel" or "route".
        valid: Whether every path passed the gate, and is drawn without dashes and counted in medians; None for all.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    kinds = {name: as_array(values) for name, values in above_start.items()}
    ceiling = max(ceiling_of(values) for values in kinds.values())
    paths = _Paths.of(groups, group_word, valid, len(next(iter(kinds.values()))))
    lines = min(len(paths.channels), _MOST_CHANNELS + 1)
    with figure_files(stem, 4.2 * len(kinds) + 0.6, 3.3 + 0.14 * lines) as (figure, files):
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, (name, energy) in zip(panels, kinds.items(), strict=True):
            _profiles(axes, name, energy, paths, ceiling, unit)
            axes.set(xlabel="fraction of the path", xlim=(0, 1))
        panels[0].set_ylabel(f"E − E(A)  ({unit})")
        lowest = min(float(np.nanmin(values, initial=0.0)) for values in kinds.values())
        panels[0].set_ylim(lowest - 0.05 * ceiling, 1.05 * ceiling)
        figure.suptitle(title)
    return files


@dataclass(frozen=True)
class _Paths:
    """The channel of every path, and whether it is valid."""

    word: str
    groups: np.ndarray
    valid: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[int] | None, word: str, valid: Sequence[bool] | None, n_paths: int) -> "_Paths":
        return cls(
            word,
            np.zeros(n_paths, int) if groups is None else np.asarray(groups, int),
            np.ones(n_paths, bool) if valid is None else np.asarray(valid, bool),
        )

    @property
    def channels(self) -> list[int]:
        return sorted(set(self.groups.tolist()))

    def style(self, path: int, color: str) -> dict[str, Any]:
        """The style of a line: the color of the panel if there is only one channel."""
        style = path_style(int(self.groups[path]), valid=bool(self.valid[path]))
        return style if len(self.channels) > 1 else style | {"color": color}


def _profiles(axes: "Axes", name: str, energy: np.ndarray, paths: _Paths, ceiling: float, unit: str) -> None:
    """Draw the lines of one panel with dots on their highest images; the panel's title sums them up in words."""
    fraction = np.linspace(0, 1, energy.shape[1])
    tops = tops_of(energy)
    where = fraction[highest_images(energy)]
    for path, values in enumerate(energy):
        style = paths.style(path, _KIND_COLORS.get(name, BLUE))
        axes.plot(fraction, values, **line_style(len(energy)), **style)
        if np.isfinite(tops[path]):
            dot = {"color": style["color"], "markeredgecolor": "white", "markeredgewidth": 0.4, "markersize": 3.5}
            axes.plot(where[path], tops[path], "o", **dot)
    lines = [f"{name}, {count(len(energy), 'path')}", *_summary(tops, paths, unit)]
    if invalid := int((~paths.valid).sum()):
        lines.append(f"{count(invalid, 'path')} not valid (dashed)")
    if beyond := int((tops[np.isfinite(tops)] > ceiling).sum()):
        lines.append(f"{count(beyond, 'path')} beyond this axis")
    if unknown := int((~np.isfinite(tops)).sum()):
        lines.append(f"{count(unknown, 'path')} with images without an energy")
    axes.set_title("\n".join(lines), loc="left")


def _summary(tops: np.ndarray, paths: _Paths, unit: str) -> list[str]:
    """Median and worst of the highest energies of the valid paths, for each channel alone."""
    counted = np.isfinite(tops) & (paths.valid | ~paths.valid.any())
    lines = []
    for channel in paths.channels[:_MOST_CHANNELS]:
        own = tops[counted & (paths.groups == channel)]
        head = "highest" if len(paths.channels) == 1 else f"{paths.word} {channel}" + _in_words(len(own))
        if len(own):
            median, worst = _short(np.median(own)), _short(own.max())
            lines.append(
                f"{head}: median {median}, worst {worst} {unit}" if len(own) > 1 else f"{head}: {worst} {unit}"
            )
    if len(paths.channels) > _MOST_CHANNELS:
        lines.append(f"and {len(paths.channels) - _MOST_CHANNELS} more")
    return lines


def _in_words(number: int) -> str:
    return "" if number == 1 else f" ({number} paths)"


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e4 else f"{value:.1e}"

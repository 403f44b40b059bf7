"""Figures of a guided run: schedules and work against time, averages beside targets, samples over unguided ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import BLUE, GRAY, RED, as_array, figure_files, legend_below, series_style

_PALEST = 0.4
"""How far below zero the scale of grays begins, in its largest count."""

_MARGIN = 0.03
_ANGLES = range(-180, 181, 60)


@dataclass(frozen=True)
class TargetRow:
    """One observable of the figure of targets.

    Attributes:
        label: Its name with its unit.
        target: What was found; None if nothing was.
        error: Error of the target; 0 if unknown.
        values: Average and standard error by the name of the ensemble.
        held_out: Whether the target was left out of the fit.
    """

    label: str
    target: float | None
    error: float
    values: Mapping[str, tuple[float, float]]
    held_out: bool


@dataclass(frozen=True)
class SamplePlane:
    """Samples in a plane of two quantities.

    Attributes:
        labels: Names of the quantities with their units.
        unguided: Samples without guidance, (sample, 2).
        guided: Samples with guidance, (sample, 2).
        marks: Points to mark, such as the guides, (point, 2).
        degrees: Whether both are angles from -180 to 180 degrees.
    """

    labels: tuple[str, str]
    unguided: Float[Tensor, "sample 2"]
    guided: Float[Tensor, "sample 2"]
    marks: Float[Tensor, "point 2"] | None = None
    degrees: bool = False


def guidance_course(
    stem: Path,
    times: Sequence[float],
    work: Float[Tensor, " step"],
    schedules: Mapping[str, Sequence[float]],
    *,
    title: str,
) -> list[Path]:
    """Draw the schedules, and the excess work gathered from noise (t = 1) to data (t = 0).

    Args:
        stem: File name without suffix.
        times: Time at the beginning of each step, falling.
        work: Excess work of each step, nats.
        schedules: Values at these times by name.
        title: Title of the figure.

    Returns:
        The files written: PNG and SVG.
    """
    with figure_files(stem, 5.2, 4.6) as (figure, files):
        above, below = figure.subplots(2, 1, sharex=True)
        for number, (name, values) in enumerate(schedules.items()):
            above.plot(times, values, label=name, **series_style(number))
        above.set(ylabel="schedule (dimensionless)", title=title)
        above.legend(fontsize=8)
        below.plot(times, as_array(work).cumsum(), color=BLUE)
        below.set(xlabel="time t (1 = noise, 0 = data)", ylabel="excess work so far (nats)", xlim=(1, 0))
    return files


def targets_and_averages(stem: Path, rows: Sequence[TargetRow], *, title: str) -> list[Path]:
    """Draw one panel per observable: its target as a band, and the averages of the ensembles with their errors.

    Args:
        stem: File name without suffix.
        rows: The observables, at least one.
        title: Title of the figure.

    Returns:
        The files written: PNG and SVG.
    """
    with figure_files(stem, 6.4, 1.5 * len(rows) + 0.9) as (figure, files):
        for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
            if row.target is not None:
                axes.axvspan(row.target - row.error, row.target + row.error, color=GRAY, alpha=0.25)
                axes.axvline(row.target, color=GRAY)
            names = list(row.values)
            for place, name in enumerate(names):
                average, error = row.values[name]
                color = RED if name == "guided" else BLUE
                axes.errorbar([average], [place], xerr=[error], marker="o", color=color, capsize=3)
            axes.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
            axes.set_yticklabels(names)
            axes.set_xlabel(row.label + (", held out of the fit" if row.held_out else ""))
        line = axes.plot([], [], color=GRAY, linewidth=4, alpha=0.7)[0]
        figure.legend([line], ["target with its error"], loc="outside lower center", fontsize=8)
        figure.suptitle(title)
    return files


def samples_in_plane(stem: Path, plane: SamplePlane, *, title: str) -> list[Path]:
    """Draw the density of unguided samples with the guided samples on it.

    Args:
        stem: File name without suffix.
        plane: The samples.
        title: Title of the figure.

    Returns:
        The files written: PNG and SVG.
    """
    unguided, guided = as_array(plane.unguided), as_array(plane.guided)
    both = np.concatenate((unguided, guided))
    ranges = [[-180.0, 180.0]] * 2 if plane.degrees else _limits(both)
    with figure_files(stem, 5.0, 5.0) as (figure, files):
        axes = figure.subplots()
        count, *_, density = axes.hist2d(
            unguided[:, 0], unguided[:, 1], bins=_bins(len(unguided)), range=ranges, cmap="Greys", cmin=1
        )
        density.set_clim(-_PALEST * np.nanmax(count), np.nanmax(count))  # one sample alone is seen, too
        axes.fill([], [], color=GRAY, alpha=0.6, label="unguided samples (darker: more)")
        axes.plot(guided[:, 0], guided[:, 1], ".", color=RED, markersize=3, label="guided samples")
        if plane.marks is not None:
            axes.plot(*as_array(plane.marks).T, "x", color="black", markersize=7, label="guides")
        axes.set(xlabel=plane.labels[0], ylabel=plane.labels[1], xlim=ranges[0], ylim=ranges[1], title=title)
        if plane.degrees:
            axes.set(xticks=_ANGLES, yticks=_ANGLES)
        axes.grid(visible=False)
        legend_below(axes)
    return files


def _bins(samples: int) -> int:
    """Bins along an axis: fewer for few samples, so that some share a bin."""
    return min(max(round(2 * samples**0.5), 20), 60)


def _limits(points: np.ndarray) -> list[list[float]]:
    """The ranges of points with a margin, in which every point is inside."""
    low, high = points.min(0), points.max(0)
    margin = _MARGIN * (high - low) + 1e-9
    return [[float(a), float(b)] for a, b in zip(low - margin, high + margin, strict=True)]

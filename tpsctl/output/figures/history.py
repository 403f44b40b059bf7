"""A figure of the action and its terms during the optimization."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import BLUE, GRAY, GREEN, ORANGE, PURPLE, as_array, count, figure_files, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TERM_COLORS = {"kinetic": BLUE, "drift": ORANGE, "cross": PURPLE, "divergence": GREEN}


def action_history(
    stem: Path,
    steps: Sequence[int],
    terms: Mapping[str, Float[Tensor, "step path"]],
    *,
    title: str,
    stages: Sequence[tuple[int, str]] = (),
) -> list[Path]:
    """Draw the total action of every path against the optimization step, and median and range of its terms over paths.

    Args:
        stem: File name without suffix.
        steps: Step numbers.
        terms: The "total" and the terms to show, by name, dimensionless.
        title: Title of the figure.
        stages: First step and name of each stage of the optimization, marked by a line if there are several.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    values = {name: as_array(value) for name, value in terms.items()}
    with figure_files(stem, 8.6, 3.4) as (figure, files):
        left, right = figure.subplots(1, 2)
        total = values.pop("total")
        left.plot(steps, total, color=BLUE, **line_style(total.shape[1]))
        left.set(title=f"total action, {count(total.shape[1], 'path')}", ylabel="action (dimensionless)")
        for name, value in values.items():
            color = _TERM_COLORS.get(name, GRAY)
            known = np.ma.masked_invalid(value)
            right.plot(steps, np.ma.median(known, 1), color=color, linewidth=1.6, label=name)
            right.fill_between(steps, known.min(1), known.max(1), color=color, alpha=0.18, linewidth=0)
        right.set(title="terms, median and range over paths")
        right.legend()
        for axes, shown in ((left, [total]), (right, list(values.values()))):
            axes.set_xlabel("optimization step")
            axes.set_yscale(_scale(shown))
            _mark_stages(axes, stages if len(stages) > 1 else ())
        figure.suptitle(title)
    return files


def _scale(shown: Sequence[np.ndarray]) -> str:
    values = np.concatenate([value.ravel() for value in shown])
    values = values[np.isfinite(values) & (values != 0)]
    if (values > 0).all():
        return "log"
    return "symlog" if np.abs(values).max() > 100 * np.median(np.abs(values)) else "linear"


def _mark_stages(axes: "Axes", stages: Sequence[tuple[int, str]]) -> None:
    for step, name in stages:
        axes.axvline(step, color=GRAY, linewidth=0.7, linestyle=":")
        axes.annotate(
            name,
            (step, 0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2),
            textcoords="offset points",
            rotation=90,
            fontsize=7,
            color=GRAY,
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.3},
        )

"""A figure of the loss during a training, on training and on held-out data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tpsctl.output.figures.canvas import BLUE, RED, figure_files


def learning_curve(
    stem: Path, loss: Sequence[tuple[int, float]], held_out: Sequence[tuple[int, float]], *, title: str
) -> list[Path]:
    """Draw the loss against the optimization step.

    Args:
        stem: File name without suffix.
        loss: Steps, and the mean loss of the training up to there since the last one.
        held_out: Steps, and the loss on held-out data there; may be empty.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    with figure_files(stem, 5.2, 3.4) as (figure, files):
        axes = figure.subplots()
        for rows, color, label in ((loss, BLUE, "training data"), (held_out, RED, "held-out data")):
            if rows:
                steps, values = np.array(rows, dtype=float).T
                axes.plot(steps, values, color=color, linewidth=1.4, label=label, marker=".", markersize=3)
        axes.set(xlabel="optimizer step", ylabel="loss (dimensionless)", title=title)
        shown = np.array([value for _, value in (*loss, *held_out)])
        if len(shown) and (shown > 0).all():
            axes.set_yscale("log")
        axes.legend()
    return files

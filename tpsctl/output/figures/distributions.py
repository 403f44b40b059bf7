"""A figure of the distributions of internal coordinates of samples beside those of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tpsctl.output.figures.canvas import GRAY, RED, as_array, figure_files

_COLUMNS, _BINS = 4, 36


@dataclass(frozen=True)
class DistributionPanel:
    """One internal coordinate of samples and of data.

    Attributes:
        name: Labels of its atoms.
        unit: "nm", or "rad" for an angle, which is drawn in degrees.
        samples: Values of the samples.
        data: Values of the data.
    """

    name: str
    unit: str
    samples: Float[Tensor, " sample"]
    data: Float[Tensor, " frame"]


def sample_distributions(stem: Path, panels: Sequence[DistributionPanel], *, title: str) -> list[Path]:
    """Draw one histogram per coordinate: data filled, samples as a line.

    Args:
        stem: File name without suffix.
        panels: The coordinates, at least one.
        title: Title of the figure.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    rows = -(-len(panels) // _COLUMNS)
    with figure_files(stem, 8.6, 2.1 * rows + 0.5) as (figure, files):
        for axes, panel in zip(figure.subplots(rows, _COLUMNS, squeeze=False).flat, panels, strict=False):
            factor, unit = (180 / np.pi, "degrees") if panel.unit == "rad" else (1.0, panel.unit)
            data, samples = as_array(panel.data) * factor, as_array(panel.samples) * factor
            low, high = np.quantile(data, [0.002, 0.998])
            edges = np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low) + 1e-9, _BINS + 1)
            axes.hist(data, edges, density=True, color=GRAY, alpha=0.45, label="data")
            axes.hist(samples, edges, density=True, histtype="step", color=RED, linewidth=1.3, label="samples")
            axes.set_title(panel.name, fontsize=7)
            axes.set(xlabel=unit, yticks=[])
        for axes in list(figure.axes)[len(panels) :]:
            axes.set_axis_off()
        figure.axes[0].legend(fontsize=7)
        figure.suptitle(title)
    return files

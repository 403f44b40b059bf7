"""What all figures share: colors and style, files, marks of ends and tops.

Each figure is written as PNG (to look at) and SVG (to print). Colors are from palettes made for color-blind readers
(Okabe and Ito; viridis), and nothing is told by color alone. An axis is never ruled by a broken path: what lies beyond
it is counted in words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tpsctl.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, PURPLE, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "tpsctl",  # equal figures are equal files
}
DPI = 180
_CLIP_FACTOR = 2.5
"""A path whose top is this many times the median top is drawn out of the axis."""


@contextmanager
def figure_files(stem: Path, width: float, height: float) -> Iterator[tuple["Figure", list[Path]]]:
    """An empty figure; saved as stem.png and stem.svg on leaving, never shown."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, files
        for file in files:
            with atomic(file) as temporary:
                metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
                figure.savefig(temporary, dpi=DPI, metadata=metadata)


def line_style(n_paths: int) -> dict[str, Any]:
    """One path is a plain line; many are thin and let each other shine through."""
    return {"linewidth": 0.9, "alpha": 0.55} if n_paths > 1 else {"linewidth": 1.4}


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def highest_images(energy: np.ndarray) -> np.ndarray:
    """Index of the highest image of each path among those with an energy."""
    return np.where(np.isfinite(energy), energy, -np.inf).argmax(1)


def tops_of(energy: np.ndarray) -> np.ndarray:
    """Highest energy of each path, NaN where an image has none."""
    return np.where(np.isfinite(energy).all(1), energy.max(1), np.nan)


def ceiling_of(energy: np.ndarray) -> float:
    """Highest energy worth an axis: of all paths, broken ones left aside."""
    tops = tops_of(energy)
    tops = tops[np.isfinite(tops)]
    if not len(tops):
        return 1.0
    sound = tops[tops <= _CLIP_FACTOR * max(np.median(tops), 1e-9)]
    return max(float(sound.max(initial=tops.min())), 1e-9)


def mark_ends(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    for image, marker, name in ((0, "o", "start A"), (-1, "s", "end B")):
        axes.plot(
            x[:, image],
            y[:, image],
            marker,
            markersize=9,
            markerfacecolor="white",
            markeredgecolor="black",
            zorder=6,
            linestyle="none",
            label=name,
        )


def cross_highest(axes: "Axes", x: np.ndarray, y: np.ndarray, energy: np.ndarray) -> None:
    paths, highest = np.arange(len(x)), highest_images(energy)
    axes.plot(
        x[paths, highest],
        y[paths, highest],
        "x",
        color="black",
        markersize=6,
        zorder=5,
        label="highest image of a path",
    )


def legend_below(axes: "Axes") -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=8, handletextpad=0.3)


def as_array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()

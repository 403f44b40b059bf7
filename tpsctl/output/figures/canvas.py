"""What all figures share: colors and style, files, marks of ends and of highest images.

Each figure is written as PNG (for the screen), SVG and PDF (for print). Colors are from palettes for color-blind
readers (Okabe and Ito; viridis), and color is never the only distinction. A broken path does not decide the range of
an axis; a figure says in words how many paths lie beyond it.
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
SERIES = (BLUE, RED, GREEN, PURPLE, ORANGE, "#56B4E9", "#000000", GRAY)
"""Colors of routes and torsions in their order; dashes tell apart those whose colors are similar or repeat."""
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
STYLE = Path(__file__).with_name("tpsctl.mplstyle")
"""The matplotlib style of all figures; `matplotlib.style.use` takes it for figures of one's own."""

KINDS = ("png", "svg", "pdf")
"""Every figure is written as PNG (for the screen), SVG and PDF (for print)."""

_UNDATED: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""Metadata without the time, so that equal figures are equal files."""

DPI = 180
_CLIP_FACTOR = 2.5
"""A path whose highest energy is more than this many times the median over paths does not decide an axis' range."""


@contextmanager
def figure_files(stem: Path, width: float, height: float) -> Iterator[tuple["Figure", list[Path]]]:
    """An empty figure of this size in inches and its files (see `KINDS`), which are written on leaving."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = [stem.with_name(f"{stem.name}.{kind}") for kind in KINDS]
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, files
        for file in files:
            with atomic(file) as temporary:
                figure.savefig(temporary, dpi=DPI, metadata=_UNDATED.get(file.suffix, {}))
            figure.set_layout_engine("none")  # what the first file's layout found is kept


def series_style(number: int) -> dict[str, Any]:
    """Color and dashes of the line with this number, counted from 0."""
    dashes = _DASHES[(number + number // len(SERIES)) % len(_DASHES)]
    return {"color": SERIES[number % len(SERIES)], "linestyle": dashes}


def path_style(group: int | None, *, valid: bool) -> dict[str, Any]:
    """Color of the channel of a path, gray if channels are not told apart; dashes if the path failed the gate."""
    color = GRAY if group is None else SERIES[group % len(SERIES)]
    return {"color": color, "linestyle": "solid" if valid else (0, (4, 2))}


def line_style(n_paths: int) -> dict[str, Any]:
    """Style of the lines of paths: plain for one path, thin and transparent for many."""
    return {"linewidth": 0.9, "alpha": 0.55} if n_paths > 1 else {"linewidth": 1.4}


def count(number: int, noun: str) -> str:
    """A number with its noun in singular or plural, e.g. "1 path" or "3 paths"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def highest_images(energy: np.ndarray) -> np.ndarray:
    """For energies (path, image) the index of each path's highest image among the images with a known energy."""
    return np.where(np.isfinite(energy), energy, -np.inf).argmax(1)


def tops_of(energy: np.ndarray) -> np.ndarray:
    """Highest energy of each path, NaN where the energy of an image is unknown."""
    return np.where(np.isfinite(energy).all(1), energy.max(1), np.nan)


def ceiling_of(energy: np.ndarray) -> float:
    """Upper end of an energy axis: the highest energy of all paths that are not broken (see `_CLIP_FACTOR`)."""
    tops = tops_of(energy)
    tops = tops[np.isfinite(tops)]
    if not len(tops):
        return 1.0
    sound = tops[tops <= _CLIP_FACTOR * max(np.median(tops), 1e-9)]
    return max(float(sound.max(initial=tops.min())), 1e-9)


def mark_ends(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    """Mark start and end of all paths, whose images are at x and y (path, image)."""
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
    """Put a cross on the highest image of each path; all arrays are (path, image)."""
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
    """Put the legend below the axes."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=8, handletextpad=0.3)


def as_array(values: Tensor) -> np.ndarray:
    """A tensor of any device and precision as a float64 array."""
    return values.detach().cpu().double().numpy()

"""Figures of a run, each as PNG (to look at) and SVG (to print): energies, action, Ramachandran plot, contours.

Colors are from palettes made for color-blind readers (Okabe and Ito; viridis), and nothing is told by color
alone. An axis is never ruled by a broken path: what lies beyond it is counted in words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
_KIND_COLORS = {"raw": _BLUE, "minimized": _RED}
_TERM_COLORS = {"kinetic": _BLUE, "drift": _ORANGE, "cross": _PURPLE, "divergence": _GREEN}
_STYLE: Any = {
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
_DPI = 180
_CLIP_FACTOR = 2.5
"""A path whose top is this many times the median top is drawn out of the axis."""


@dataclass(frozen=True)
class Background:
    """A free energy on a (phi, psi) grid.

    Attributes:
        phi_edges_deg: Edges of the cells along phi, degrees.
        psi_edges_deg: Edges of the cells along psi, degrees.
        values: kJ/mol, values[i, j] for cell i of phi and j of psi; NaN where nothing is known.
    """

    phi_edges_deg: Float[np.ndarray, " phi_edge"]
    psi_edges_deg: Float[np.ndarray, " psi_edge"]
    values: Float[np.ndarray, "phi psi"]


def energy_profile(
    stem: Path, above_start: Mapping[str, Float[Tensor, "path image"]], *, title: str, unit: str = "kJ/mol"
) -> list[Path]:
    """E - E(A) of all paths against the fraction of the path, one panel per kind ("raw", "minimized")."""
    kinds = {name: _numpy(values) for name, values in above_start.items()}
    ceiling = max(_ceiling(values) for values in kinds.values())
    with _figure(stem, 4.2 * len(kinds) + 0.6, 3.4) as (figure, files):
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, (name, energy) in zip(panels, kinds.items(), strict=True):
            _profiles(axes, name, energy, ceiling, unit)
            axes.set(xlabel="fraction of the path", xlim=(0, 1))
        panels[0].set_ylabel(f"E − E(A)  ({unit})")
        lowest = min(float(np.nanmin(values, initial=0.0)) for values in kinds.values())
        panels[0].set_ylim(lowest - 0.05 * ceiling, 1.05 * ceiling)
        figure.suptitle(title)
    return files


def action_history(
    stem: Path,
    steps: Sequence[int],
    terms: Mapping[str, Float[Tensor, "step path"]],
    *,
    title: str,
    stages: Sequence[tuple[int, str]] = (),
) -> list[Path]:
    """Total action of every path against the optimization step, and its terms: median and range over paths.

    Args:
        stem: File name without suffix.
        steps: Step numbers.
        terms: "total" and the terms to show, by name.
        title: Title of the figure.
        stages: First step and name of each stage of the optimization, marked by a line if there are several.
    """
    values = {name: _numpy(value) for name, value in terms.items()}
    with _figure(stem, 8.6, 3.4) as (figure, files):
        left, right = figure.subplots(1, 2)
        total = values.pop("total")
        left.plot(steps, total, color=_BLUE, **_line(total.shape[1]))
        left.set(title=f"total action, {_count(total.shape[1], 'path')}", ylabel="action (dimensionless)")
        for name, value in values.items():
            color = _TERM_COLORS.get(name, _GRAY)
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


def ramachandran(
    stem: Path,
    phi: Float[Tensor, "path image"],
    psi: Float[Tensor, "path image"],
    *,
    title: str,
    above_start: Float[Tensor, "path image"] | None = None,
    background: Background | None = None,
) -> list[Path]:
    """The paths in the (phi, psi) plane, ends marked, images colored by energy, highest images crossed.

    Args:
        stem: File name without suffix.
        phi: rad.
        psi: rad.
        title: Title of the figure, e.g. with the residue.
        above_start: E - E(A) of each image, kJ/mol; without it no color and no crosses.
        background: A free energy to draw behind the paths.
    """
    x, y = _numpy(phi.rad2deg()), _numpy(psi.rad2deg())
    with _figure(stem, 5.8 if above_start is not None or background is not None else 4.8, 4.6) as (figure, files):
        axes = figure.subplots()
        if background is not None:
            _draw_background(figure, axes, background)
        for one_x, one_y in zip(x, y, strict=True):
            axes.plot(*_unwrapped_pieces(one_x, one_y), color=_GRAY, linewidth=0.6, alpha=0.7, zorder=2)
        if above_start is not None:
            _draw_images(figure, axes, x, y, _numpy(above_start), "E − E(A)  (kJ/mol)")
        _draw_ends(axes, x, y)
        ticks = np.arange(-180, 181, 60)
        axes.set(xlim=(-180, 180), ylim=(-180, 180), xticks=ticks, yticks=ticks, aspect="equal", title=title)
        axes.set(xlabel="φ (degrees)", ylabel="ψ (degrees)")
        _legend_below(axes)
    return files


def contour(
    stem: Path,
    paths: Float[Tensor, "path image 1 2"],
    energy_fn: Callable[[Float[Tensor, "point 1 2"]], Float[Tensor, " point"]],
    *,
    title: str,
    unit: str = "kJ/mol",
) -> list[Path]:
    """Paths of a two-dimensional model system on the contours of its potential."""
    x, y = _numpy(paths[..., 0, 0]), _numpy(paths[..., 0, 1])
    energy = _numpy(energy_fn(paths.flatten(0, 1)).reshape(paths.shape[:2]))
    with _figure(stem, 6.0, 4.6) as (figure, files):
        axes = figure.subplots()
        axes.grid(visible=False)
        _draw_potential(figure, axes, x, y, energy, energy_fn, unit)
        for one_x, one_y in zip(x, y, strict=True):
            axes.plot(one_x, one_y, color="white", linewidth=2.4, alpha=0.8, zorder=2)
            axes.plot(one_x, one_y, color=_RED, linewidth=1.1, marker=".", markersize=3, zorder=3)
        _cross_highest(axes, x, y, energy)
        _draw_ends(axes, x, y)
        axes.set(xlabel="x (nm)", ylabel="y (nm)", title=title)
        _legend_below(axes)
    return files


@contextmanager
def _figure(stem: Path, width: float, height: float) -> Iterator[tuple["Figure", list[Path]]]:
    """An empty figure; saved as stem.png and stem.svg on leaving, never shown."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, files
        for file in files:
            with atomic(file) as temporary:
                metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
                figure.savefig(temporary, dpi=_DPI, metadata=metadata)


def _profiles(axes: "Axes", name: str, energy: np.ndarray, ceiling: float, unit: str) -> None:
    """Lines of one panel with their highest images dotted; what they amount to above it, in words."""
    color = _KIND_COLORS.get(name, _BLUE)
    fraction = np.linspace(0, 1, energy.shape[1])
    axes.plot(fraction, energy.T, color=color, **_line(len(energy)))
    tops = _tops(energy)
    known = np.isfinite(tops)
    where = fraction[_highest(energy)]
    axes.plot(where[known], tops[known], "o", color=color, markersize=3.5, markeredgecolor="white", markeredgewidth=0.4)
    lines = [f"{name}, {_count(len(energy), 'path')}"]
    if known.any():
        median, worst = _short(np.median(tops[known])), _short(tops[known].max())
        lines.append(
            f"highest: median {median}, worst {worst} {unit}" if len(energy) > 1 else f"highest: {worst} {unit}"
        )
    if beyond := int((tops[known] > ceiling).sum()):
        lines.append(f"{_count(beyond, 'path')} beyond this axis")
    if unknown := int((~known).sum()):
        lines.append(f"{_count(unknown, 'path')} with images without an energy")
    axes.set_title("\n".join(lines), loc="left")


def _line(n_paths: int) -> dict[str, Any]:
    """One path is a plain line; many are thin and let each other shine through."""
    return {"linewidth": 0.9, "alpha": 0.55} if n_paths > 1 else {"linewidth": 1.4}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1e4 else f"{value:.1e}"


def _highest(energy: np.ndarray) -> np.ndarray:
    """Index of the highest image of each path among those with an energy."""
    return np.where(np.isfinite(energy), energy, -np.inf).argmax(1)


def _tops(energy: np.ndarray) -> np.ndarray:
    """Highest energy of each path, NaN where an image has none."""
    return np.where(np.isfinite(energy).all(1), energy.max(1), np.nan)


def _ceiling(energy: np.ndarray) -> float:
    """Highest energy worth an axis: of all paths, broken ones left aside."""
    tops = _tops(energy)
    tops = tops[np.isfinite(tops)]
    if not len(tops):
        return 1.0
    sound = tops[tops <= _CLIP_FACTOR * max(np.median(tops), 1e-9)]
    return max(float(sound.max(initial=tops.min())), 1e-9)


def _scale(shown: Sequence[np.ndarray]) -> str:
    values = np.concatenate([value.ravel() for value in shown])
    values = values[np.isfinite(values) & (values != 0)]
    if (values > 0).all():
        return "log"
    return "symlog" if np.abs(values).max() > 100 * np.median(np.abs(values)) else "linear"


def _mark_stages(axes: "Axes", stages: Sequence[tuple[int, str]]) -> None:
    for step, name in stages:
        axes.axvline(step, color=_GRAY, linewidth=0.7, linestyle=":")
        axes.annotate(
            name,
            (step, 0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2),
            textcoords="offset points",
            rotation=90,
            fontsize=7,
            color=_GRAY,
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.3},
        )


def _unwrapped_pieces(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A periodic path (degrees) as one line with gaps: drawn on both sides where it leaves the square."""
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
    """The same difference of angles within half a turn; unchanged if it is already (no rounding)."""
    return difference - 360.0 * round(difference / 360.0) if abs(difference) > 180.0 else difference


def _draw_background(figure: "Figure", axes: "Axes", background: Background) -> None:
    shown = np.ma.masked_invalid(background.values.T)
    mesh = axes.pcolormesh(
        background.phi_edges_deg, background.psi_edges_deg, shown, cmap="Greys_r", vmin=0, rasterized=True, alpha=0.6
    )
    axes.grid(visible=False)
    figure.colorbar(mesh, ax=axes, label="free energy (kJ/mol)", shrink=0.75)


def _draw_images(figure: "Figure", axes: "Axes", x: np.ndarray, y: np.ndarray, energy: np.ndarray, label: str) -> None:
    shown = np.isfinite(energy)
    points = axes.scatter(
        x[shown], y[shown], c=energy[shown], s=9, cmap="viridis", vmax=_ceiling(energy), linewidths=0, zorder=3
    )
    figure.colorbar(points, ax=axes, label=label, shrink=0.75, extend="max")
    _cross_highest(axes, x, y, energy)


def _cross_highest(axes: "Axes", x: np.ndarray, y: np.ndarray, energy: np.ndarray) -> None:
    paths, highest = np.arange(len(x)), _highest(energy)
    axes.plot(
        x[paths, highest],
        y[paths, highest],
        "x",
        color="black",
        markersize=6,
        zorder=5,
        label="highest image of a path",
    )


def _draw_ends(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
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


def _legend_below(axes: "Axes") -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=8, handletextpad=0.3)


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
        potential = _numpy(energy_fn(points)).reshape(160, 160)
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


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()

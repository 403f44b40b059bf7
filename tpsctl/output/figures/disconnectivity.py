"""The disconnectivity graph of a network of minima and saddles.

Every minimum is a vertical line that starts at its energy and ends at the saddle over which it joins others. The lowest
energy at which two minima are joined is the barrier between them, whatever the number of coordinates. Only some minima
of a large network are drawn, but the way between these may pass any other.

Source: Becker and Karplus, J. Chem. Phys. 106 (1997) 1495 (here saddles have their own energies instead of levels).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tpsctl.output.figures.canvas import GRAY, SERIES, count, figure_files
from tpsctl.output.figures.labels import Label, place_labels
from tpsctl.output.figures.merge_tree import Branch, arrange, merge_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MINIMA = 40
"""Number of the lowest minima that are drawn beside A, B and those on the routes."""

MOST_NUMBERS = 8
"""Number of the best route's highest saddles whose energies are written."""


@dataclass(frozen=True)
class RouteMarks:
    """A route in the graph.

    Attributes:
        name: Name for the legend, e.g. "route 1: 36.4 kJ/mol".
        minima: Numbers of the minima that it passes, from A to B.
        saddles: Numbers of its saddles, one fewer.
    """

    name: str
    minima: tuple[int, ...]
    saddles: tuple[int, ...]


def disconnectivity(
    stem: Path,
    minima: Sequence[float],
    saddles: Sequence[tuple[int, int, float]],
    start: int,
    end: int,
    routes: Sequence[RouteMarks] = (),
    *,
    title: str,
    most: int = MOST_MINIMA,
) -> list[Path]:
    """Draw the disconnectivity graph with A, B and the saddles of the routes marked.

    Args:
        stem: File name without suffix.
        minima: Energies of all minima above A, kJ/mol.
        saddles: The two minima that each saddle joins, and its energy above A, kJ/mol.
        start: Number of A.
        end: Number of B.
        routes: Routes whose saddles are marked, best first.
        title: Title of the figure.
        most: Number of the lowest minima that are drawn beside A, B and those on the routes.

    Returns:
        The files written: PNG, SVG and PDF.
    """
    drawn = drawn_minima(minima, start, end, routes, most)
    leaves, roots = merge_tree(minima, saddles, drawn)
    arrange(roots, leaves[start], leaves[end])
    marked = [saddles[k][2] for route in routes for k in route.saddles]
    heights = [branch.energy for root in roots for branch in root.all()] + marked
    low, high = min(heights), max(heights)
    span = max(high - low, 1e-6)
    with figure_files(stem, min(11.0, max(5.0, 1.6 + 0.17 * len(drawn))), 5.4) as (figure, files):
        axes = figure.subplots()
        lines = [line for root in roots for line in _lines(root, (high if root.parts else root.energy) + 0.03 * span)]
        for x, energy in lines:
            axes.plot(x, energy, color=GRAY, linewidth=1.0, zorder=2)
        for name, marker, leaf in (("A", "o", leaves[start]), ("B", "s", leaves[end])):
            _mark_end(axes, name, marker, leaf)
        labels = _mark_routes(axes, saddles, leaves, routes)
        axes.grid(visible=False, axis="x")
        axes.set(xlim=(-1, len(drawn)), ylim=(low - 0.12 * span, high + 0.12 * span), xticks=[])
        axes.set(ylabel="E − E(A)  (kJ/mol)", title=_heading(title, len(minima), len(drawn), len(roots), most))
        axes.spines["bottom"].set_visible(False)
        if routes:
            figure.legend(loc="outside lower center", ncols=2 if len(routes) > 2 else 1, fontsize=8)
        place_labels(figure, axes, labels, lines=lines)
    return files


def drawn_minima(minima: Sequence[float], start: int, end: int, routes: Sequence[RouteMarks], most: int) -> list[int]:
    """Numbers of the minima that are drawn, ascending: the lowest `most`, A, B and those on the routes."""
    lowest = sorted(range(len(minima)), key=lambda i: (minima[i], i))[:most]
    return sorted({start, end, *lowest, *(i for route in routes for i in route.minima)})


def _heading(title: str, known: int, drawn: int, parts: int, most: int) -> str:
    """The title, and below it what is drawn and what is not."""
    if drawn == known:
        shown = count(known, "minimum").replace("minimums", "minima")
    else:
        shown = f"{drawn} of {known} minima: the lowest {most}, A, B and those on the routes"
    return f"{title}\n{shown}" + (f"; {parts} parts that no known saddle joins" if parts > 1 else "")


def _lines(branch: Branch, up_to: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lines (x, energy) of a branch, which goes up to an energy, and of everything below it."""
    yield np.array([branch.x, branch.x]), np.array([branch.energy, up_to])
    if branch.parts:
        yield np.array([branch.parts[0].x, branch.parts[-1].x]), np.array([branch.energy] * 2)
    for part in branch.parts:
        yield from _lines(part, branch.energy)


def _mark_end(axes: "Axes", name: str, marker: str, leaf: Branch) -> None:
    style: Any = {"markersize": 8, "color": "black", "markerfacecolor": "white", "zorder": 6}
    axes.plot(leaf.x, leaf.energy, marker, **style)
    axes.annotate(
        name, (leaf.x, leaf.energy), xytext=(0, -9), textcoords="offset points", ha="center", va="top", weight="bold"
    )


def _mark_routes(
    axes: "Axes",
    saddles: Sequence[tuple[int, int, float]],
    leaves: Mapping[int, Branch],
    routes: Sequence[RouteMarks],
) -> list[Label]:
    """Put diamonds at the saddles of the routes and dots at their minima; what several share has the best one's color.

    Returns:
        The energies of the highest saddles of the best route, and of the highest saddle of every other one.
    """
    seen: set[int] = set()
    minima: set[int] = set()
    labels = []
    for number, route in enumerate(routes):
        color = SERIES[number % len(SERIES)]
        ranked = sorted(route.saddles, key=lambda k: (-saddles[k][2], k))
        own = [k for k in ranked if k not in seen]
        x = {k: leaves[_passed(route, k)].at(saddles[k][2]).x for k in own}
        style: Any = {"color": color, "zorder": 5, "linestyle": "none"}
        axes.plot([x[k] for k in own], [saddles[k][2] for k in own], "D", markersize=5, label=route.name, **style)
        inner = [leaves[i] for i in route.minima[1:-1] if i not in minima]
        axes.plot([leaf.x for leaf in inner], [leaf.energy for leaf in inner], "o", markersize=4, **style)
        shown = own[:MOST_NUMBERS] if number == 0 else [k for k in own if k == ranked[0]]
        named = {(f"{saddles[k][2]:.1f}", x[k]): saddles[k][2] for k in shown}  # one number for saddles at one point
        labels += [Label(text, place, energy, color) for (text, place), energy in named.items()]
        seen.update(own)
        minima.update(route.minima)
    return labels


def _passed(route: RouteMarks, saddle: int) -> int:
    """The minimum that a route passes before a saddle."""
    return route.minima[route.saddles.index(saddle)]

"""The figures of a search for routes."""

from pathlib import Path

from tpsctl.landscape.pinned_path import PinnedPath
from tpsctl.molecule.torsions import turning_angles
from tpsctl.output import figures
from tpsctl.workflows.sample.routes.found import FoundRoutes
from tpsctl.workflows.sample.routes.rows import Numbering
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.sample.verdict_files import draw_verdict


def draw_routes(folder: Path, tools: Tools, found: FoundRoutes, numbers: Numbering) -> None:
    """Draw energies and torsions along the routes, the disconnectivity graph, and what every verdict is drawn with."""
    assert found.verdict is not None
    title, names = tools.recipe.name, _names(found)
    draw_verdict(folder, found.verdict, title=title)
    profiles = [
        figures.RouteProfile(name, path.arc_length, path.energy - found.zero, *_stationary(path))
        for name, path in zip(names, found.paths, strict=True)
    ]
    figures.arc_length(folder / "routes", profiles, title=title)
    courses = turning_angles(tools.system.topology, [path.x for path in found.paths])
    angles = [
        figures.RouteTorsions(
            name, path.arc_length, {course.name: course.values[k] for course in courses}, *_stationary(path)
        )
        for k, (name, path) in enumerate(zip(names, found.paths, strict=True))
    ]
    figures.torsions(folder / "torsions", angles, title=title)
    _draw_network(folder, found, numbers, title)


def _draw_network(folder: Path, found: FoundRoutes, numbers: Numbering, title: str) -> None:
    search, network = found.search, found.search.network
    marks = [
        figures.RouteMarks(name, tuple(map(numbers.minimum, route.minima)), tuple(map(numbers.saddle, route.saddles)))
        for name, route in zip(_names(found), search.routes, strict=True)
    ]
    saddles = [
        (numbers.minimum(s.ends[0]), numbers.minimum(s.ends[1]), s.energy - found.zero)
        for s in (network.saddles[k] for k in numbers.saddles)
    ]
    minima = [network.minima[i].energy - found.zero for i in numbers.minima]
    ends = numbers.minimum(search.start), numbers.minimum(search.end)
    figures.disconnectivity(folder / "network", minima, saddles, *ends, marks, title=title)


def _names(found: FoundRoutes) -> list[str]:
    return [f"route {k}: {route.top - found.zero:.1f} kJ/mol" for k, route in enumerate(found.search.routes)]


def _stationary(path: PinnedPath) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Images that are minima, and images that are saddles; both alternate among the pinned ones."""
    return path.pinned[::2], path.pinned[1::2]

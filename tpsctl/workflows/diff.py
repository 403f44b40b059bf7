"""`tpsctl diff`: what differs between two finished runs, in recipe, inputs, versions and results.

The recipes are compared key by key as they were resolved. Where files lie and where output goes is left out; the
contents of input files are compared by their SHA-256. Results of two searches are compared route by route, and a route
is recognized by the energies of its saddles; all other results are compared path by path, by number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.workflows.stored_run import StoredRun

SAME_SADDLE_KJ_PER_MOL = 0.1
"""Largest difference of the energies above the start of one saddle in two runs. Two runs on one energy know a saddle to
1e-6 kJ/mol; the margin is for force fields of another precision."""

PARTS = ("recipe", "inputs", "versions", "results")
"""The parts of a comparison, in the order in which they are shown."""

_PLACES = ("output.directory", "output.checkpoint")
_SUMMARY = ("outcome", "requested", "produced", "converged", "valid")
_OF_PATH = ("status", "gate", "is_saddle", "steps", "channel")
_OF_PROFILE = ("highest_image", "barrier_forward_kj_per_mol", "barrier_backward_kj_per_mol")
_OF_ROUTE = (
    *("number", "valid", "forward", "backward", "action", "length"),
    *("free_energy_forward", "free_energy_backward", "flux_share"),
)


@dataclass(frozen=True)
class RunDifference:
    """One value that differs.

    Attributes:
        part: "recipe", "inputs", "versions" or "results".
        key: What differs, as a dotted key; of a result with the path or route in front.
        first: The value of the first run; None if it has none.
        second: That of the second run.
    """

    part: str
    key: str
    first: Any
    second: Any


def compare_runs(first: Path, second: Path, *, tolerance: float = 0.0) -> list[RunDifference]:
    """All differences of two runs, in the order of `PARTS`.

    Args:
        first: Directory of a finished run.
        second: Directory of another one.
        tolerance: Largest relative difference of two numbers among the results that counts as none.

    Raises:
        RecipeError: One is not the directory of a finished run.
    """
    a, b = (StoredRun.read(directory).manifest for directory in (first, second))
    return [*_recipe(a, b), *_inputs(a, b), *_changes("versions", a, b, "versions"), *_results(a, b, tolerance)]


def _recipe(a: dict[str, Any], b: dict[str, Any]) -> Iterator[RunDifference]:
    """The keys that differ, but for places of output and of files whose contents are equal."""
    same = {key for key, entry in a["inputs"].items() if entry["sha256"] == b["inputs"].get(key, {}).get("sha256")}
    for change in _changes("recipe", a, b, "recipe"):
        if change.key not in same and change.key not in _PLACES:
            yield change


def _inputs(a: dict[str, Any], b: dict[str, Any]) -> Iterator[RunDifference]:
    for key in dict.fromkeys((*a["inputs"], *b["inputs"])):
        one, other = (m["inputs"].get(key, {}).get("sha256") for m in (a, b))
        if one != other:
            yield RunDifference("inputs", key, one, other)


def _changes(part: str, a: dict[str, Any], b: dict[str, Any], name: str) -> Iterator[RunDifference]:
    for key, one, other in _leaves(a[name], b[name], ""):
        yield RunDifference(part, key, one, other)


def _leaves(one: Any, other: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key at which two nested values differ; lists of equal length are compared item by item."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            yield from _leaves(one.get(name), other.get(name), f"{key}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from _leaves(*pair, f"{key}.{i}")
    elif one != other:
        yield key, one, other


def _results(a: dict[str, Any], b: dict[str, Any], tolerance: float) -> Iterator[RunDifference]:
    for name in _SUMMARY:
        if a.get(name) != b.get(name):
            yield RunDifference("results", name, a.get(name), b.get(name))
    by_route = "routes" in a and "routes" in b
    pairs = _matched_routes(a, b) if by_route else _same_numbers(len(a["paths"]), len(b["paths"]))
    for one, other in pairs:
        label = f"{'route' if by_route else 'path'} {other if one is None else one}"
        if one is None or other is None:
            yield RunDifference("results", label, *("missing" if k is None else "found" for k in (one, other)))
            continue
        facts = [_facts(m, k, by_route) for m, k in ((a, one), (b, other))]
        for name in dict.fromkeys((*facts[0], *facts[1])):
            values = [fact.get(name) for fact in facts]
            if not _equal(values[0], values[1], tolerance):
                yield RunDifference("results", f"{label}: {name}", *values)


def _same_numbers(first: int, second: int) -> list[tuple[int | None, int | None]]:
    return [(k if k < first else None, k if k < second else None) for k in range(max(first, second))]


def _matched_routes(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[int | None, int | None]]:
    """Pairs of routes over the same saddles, in the order of the first run; then those that only the second has."""
    passes = [[_saddle_energies(m, route) for route in m["routes"]] for m in (a, b)]
    free = list(range(len(passes[1])))
    pairs: list[tuple[int | None, int | None]] = []
    for k, energies in enumerate(passes[0]):
        match = min(free, key=lambda j: _distance(energies, passes[1][j]), default=None)
        if match is not None and _distance(energies, passes[1][match]) > SAME_SADDLE_KJ_PER_MOL:
            match = None
        pairs.append((k, match))
        free = [j for j in free if j != match]
    return pairs + [(None, j) for j in free]


def _saddle_energies(manifest: dict[str, Any], route: dict[str, Any]) -> list[float]:
    """Energies above the start of the saddles of a route, kJ/mol, in their order."""
    energies = {saddle["saddle"]: saddle["energy"] for saddle in manifest["saddles"]}
    return [energies[k] for k in route["saddles"]]


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest difference of two lists of energies; infinite if they differ in length."""
    if len(one) != len(other):
        return float("inf")
    return max((abs(x - y) for x, y in zip(one, other, strict=True)), default=0.0)


def _facts(manifest: dict[str, Any], k: int, by_route: bool) -> dict[str, Any]:
    """What is compared of one path, and of its route."""
    entry = manifest["paths"][k]
    facts = {name: entry.get(name) for name in _OF_PATH} | {"action": entry["action"]["total"]}
    for kind in ("raw", "minimized"):
        facts |= {f"{kind}.{name}": entry[kind][name] for name in _OF_PROFILE if kind in entry}
    facts |= {f"top on {name}": top["words"] for name, top in entry.get("tops", {}).items()}
    if by_route:
        facts |= {f"route.{name}": manifest["routes"][k][name] for name in _OF_ROUTE}
    return facts


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two values are equal, numbers within the relative tolerance."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= tolerance * max(abs(one), abs(other))
    return one == other

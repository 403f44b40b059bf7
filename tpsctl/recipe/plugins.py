"""What installed packages provide, by the names of their entry points, as kinds in a recipe: priors and observables."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tpsctl.entry_points import entry_point_names

PRIORS, OBSERVABLES = "tpsctl.priors", "tpsctl.observables"
"""Groups of entry points."""

_BUILT_IN = {
    PRIORS: {"checkpoint", "openmm", "mueller_brown", "double_well", "gaussian", "snapshots", "plugin"},
    OBSERVABLES: {
        *("coordinate", "distance", "angle", "dihedral", "cosine", "radius_of_gyration", "contacts", "coupling"),
        *("noe", "fret", "plugin"),
    },
}
"""Kinds that no plug-in can take the place of; for these, no plug-ins are searched."""

_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    PRIORS: (("prior",),),
    OBSERVABLES: (("guide", "observables", "*"), ("guide", "success", "ranges", "*", "observable")),
}
"""Where sections stand whose kind may be a plug-in; * is any item of a list."""


def installed_plugins(path: tuple[str | int, ...]) -> list[str]:
    """Names of the installed plug-ins that may be the kind of the section at a key path."""
    place = tuple("*" if isinstance(part, int) else part for part in path)
    group = next((group for group, places in _PLACES.items() if place in places), None)
    return [] if group is None else entry_point_names(group)


def expand_plugin_kinds(values: dict[str, Any]) -> dict[str, Any]:
    """Write `{kind: NAME}` of an installed plug-in out as `{kind: plugin, name: NAME}`.

    Built-in kinds take precedence over plug-ins of the same name.
    """
    for group, places in _PLACES.items():
        for place in places:
            values = _changed(values, place, partial(_written_out, group))
    return values


def _changed(values: Any, place: tuple[str, ...], change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of values in which the sections at a place are changed, where there are any."""
    if not place:
        return change(values) if isinstance(values, dict) else values
    head, *rest = place
    if head == "*":
        return [_changed(item, tuple(rest), change) for item in values] if isinstance(values, list) else values
    if not isinstance(values, dict) or head not in values:
        return values
    return {**values, head: _changed(values[head], tuple(rest), change)}


def _written_out(group: str, section: dict[str, Any]) -> dict[str, Any]:
    kind = section.get("kind")
    if "name" in section or not isinstance(kind, str) or kind in _BUILT_IN[group]:
        return section
    return {**section, "kind": "plugin", "name": kind} if kind in entry_point_names(group) else section

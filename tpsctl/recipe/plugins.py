"""Priors that installed packages bring, by the names their entry points have."""

from importlib.metadata import entry_points
from typing import Any

GROUP = "tpsctl.priors"
_BUILT_IN = ("checkpoint", "openmm", "mueller_brown", "double_well", "gaussian", "plugin")


def installed_plugins() -> list[str]:
    """Names in the entry-point group."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def expand_plugin_kind(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe in which `prior: {kind: NAME}` of an installed plug-in is written out: `{kind: plugin, name: NAME}`.

    A built-in kind of the same name comes first, and is what the entry points are not even looked up for.
    """
    prior = values.get("prior")
    if not isinstance(prior, dict) or "name" in prior or prior.get("kind") in _BUILT_IN:
        return values
    if prior.get("kind") not in installed_plugins():
        return values
    return {**values, "prior": {**prior, "kind": "plugin", "name": prior["kind"]}}

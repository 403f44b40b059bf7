"""Priors that installed packages provide, by the names of their entry points."""

from importlib.metadata import entry_points
from typing import Any

GROUP = "tpsctl.priors"
_BUILT_IN = ("checkpoint", "openmm", "mueller_brown", "double_well", "gaussian", "plugin")


def installed_plugins() -> list[str]:
    """Names of the installed plug-in priors."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def expand_plugin_kind(values: dict[str, Any]) -> dict[str, Any]:
    """Write `prior: {kind: NAME}` of an installed plug-in out as `{kind: plugin, name: NAME}`.

    Built-in kinds take precedence over plug-ins of the same name; for a built-in kind, no plug-ins are searched.
    """
    prior = values.get("prior")
    if not isinstance(prior, dict) or "name" in prior or prior.get("kind") in _BUILT_IN:
        return values
    if prior.get("kind") not in installed_plugins():
        return values
    return {**values, "prior": {**prior, "kind": "plugin", "name": prior["kind"]}}

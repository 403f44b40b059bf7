"""Priors of other packages, found by the entry-point group `tpsctl.priors`.

An entry point names a function `make(options, topology) -> Prior`. It gets the recipe's `prior.options` and the
molecule of the endpoints (None for a point in a model potential). It raises `PriorError` for mistakes of the user.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior

GROUP = "tpsctl.priors"


def plugin_names() -> list[str]:
    """Names of the priors that installed packages provide."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def make_plugin(name: str, options: dict[str, Any], topology: Topology | None) -> Prior:
    """Make the prior of a plug-in.

    Args:
        name: Name of the entry point.
        options: The recipe's `prior.options`.
        topology: The molecule of the endpoints; None for a point in a model potential.

    Raises:
        PriorError: No package or several packages provide this name, it cannot be imported, or it returns no prior.
    """
    prior = _load(name)(options, topology)
    if not isinstance(prior, Prior):
        raise PriorError(f'plug-in "{name}" made a {type(prior).__name__}, expected a tpsctl.prior.base.Prior.')
    return prior


def _load(name: str) -> Any:
    found = list(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        names = ", ".join(plugin_names()) or "none"
        which = f"brought by {len(found)} packages ({', '.join(map(_package, found))})" if found else "not installed"
        raise PriorError(f'prior.name: "{name}" is {which}. Installed plug-ins: {names}. Install its package with pip.')
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise PriorError(f'plug-in "{name}" of {_package(found[0])} cannot be imported: {error}.') from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value

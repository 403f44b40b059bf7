"""What other installed packages add to tpsctl: the entry points of a group, by name."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tpsctl.errors import TpsctlError


def entry_point_names(group: str) -> list[str]:
    """Names of the entry points of a group that installed packages provide."""
    return sorted({entry.name for entry in entry_points(group=group)})


def load_entry_point(group: str, name: str, key: str) -> Any:
    """What an entry point names; `key` is where its name stands in the recipe.

    Raises:
        TpsctlError: No package or several packages provide this name, or it cannot be imported.
    """
    found = list(entry_points(group=group, name=name))
    if len(found) != 1:
        names = ", ".join(entry_point_names(group)) or "none"
        which = f"brought by {len(found)} packages ({', '.join(map(_package, found))})" if found else "not installed"
        raise TpsctlError(f'{key}: "{name}" is {which}. Installed plug-ins: {names}. Install its package with pip.')
    try:
        return found[0].load()
    except (ImportError, AttributeError) as error:
        raise TpsctlError(f'plug-in "{name}" of {_package(found[0])} cannot be imported: {error}.') from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value

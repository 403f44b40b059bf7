"""Priors of other packages, found by the entry-point group `tpsctl.priors`.

An entry point names a function `make(options, topology) -> Prior`. It gets the recipe's `prior.options` and the
molecule of the endpoints (None for a point in a model potential). It raises `PriorError` for mistakes of the user.
"""

from typing import Any

from tpsctl.entry_points import load_entry_point
from tpsctl.errors import PriorError, TpsctlError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior

GROUP = "tpsctl.priors"


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
    try:
        return load_entry_point(GROUP, name, "prior.name")
    except TpsctlError as error:
        raise PriorError(str(error)) from error.__cause__

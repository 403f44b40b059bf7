"""Observables of other packages, found by the entry-point group `tpsctl.observables`.

An entry point names a function `make(options, topology)`. It gets the `options` of the recipe and the molecule (None
for a point of a model potential), and returns a function of positions (sample, bead, dim) in nm to one number for each
sample, which torch can differentiate. What it returns is checked whenever it is called, so that a mistake names the
plug-in instead of spoiling the samples.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tpsctl.entry_points import load_entry_point
from tpsctl.errors import RecipeError
from tpsctl.molecule.observables.base import Observable
from tpsctl.molecule.topology import Topology

OBSERVABLES = "tpsctl.observables"
"""The entry-point group."""

ObservableFn = Callable[[Tensor], Tensor]
"""Positions (sample, bead, dim), nm, to the observable (sample,), in its own unit."""


class PluginObservable(Observable):
    """An observable that another package provides.

    Args:
        plugin: Name of the plug-in, for messages.
        name: What the observable is called in tables.
        unit: Its unit; "" for a pure number.
        observable_fn: The function.
    """

    def __init__(self, plugin: str, name: str, unit: str, observable_fn: ObservableFn) -> None:
        self.name, self.unit = name, unit
        self._plugin, self._observable_fn = plugin, observable_fn

    def __call__(self, x: Tensor) -> Tensor:
        """Call the plug-in.

        Raises:
            RecipeError: It returns no number for each sample, or one without the gradient that is needed.
        """
        guided = torch.is_grad_enabled() and x.requires_grad
        if guided:
            x = x.view_as(x)  # a tensor of its own, so that its gradient is that of this observable alone
            x.register_hook(self._require_finite_gradient)
        found = self._observable_fn(x)
        if not isinstance(found, Tensor):
            raise self._error(f"returned a {type(found).__name__}, expected a torch.Tensor of one number per sample")
        if found.shape != (len(x),):
            raise self._error(f"returned shape {tuple(found.shape)}, expected ({len(x)},): one number per sample")
        if not found.is_floating_point():
            raise self._error(f"returned numbers of type {found.dtype}, expected real ones, such as torch.float64")
        bad = int((~found.detach().isfinite()).sum())
        if bad:
            raise self._error(f"is not a finite number for {bad} of {len(x)} samples", "Check its options and atoms")
        if guided and not found.requires_grad:
            raise self._error(
                "returned numbers without a gradient, which guidance needs",
                "Compute it of the positions by torch alone: without detach(), item(), numpy or torch.no_grad()",
            )
        return found

    def _require_finite_gradient(self, gradient: Tensor) -> None:
        bad = int((~gradient.isfinite()).flatten(1).any(1).sum())
        if bad:
            raise self._error(
                f"has a gradient that is not finite for {bad} of {len(gradient)} samples",
                "Avoid roots of zero and angles of beads in a line",
            )

    def _error(self, problem: str, remedy: str = "Mend the plug-in") -> RecipeError:
        return RecipeError(f'plug-in observable "{self._plugin}" {problem}. {remedy}.')


def make_plugin_observable(
    plugin: str, options: dict[str, Any], topology: Topology | None, *, label: str, unit: str, key: str
) -> PluginObservable:
    """Make the observable of a plug-in.

    Args:
        plugin: Name of the entry point.
        options: The recipe's `options`.
        topology: The molecule; None for a point of a model potential.
        label: What the observable is called in tables.
        unit: Its unit; "" for a pure number.
        key: Where it stands in the recipe, for messages.

    Raises:
        RecipeError: It returns no function.
        TpsctlError: No package or several packages provide this name, or it cannot be imported.
    """
    observable_fn = load_entry_point(OBSERVABLES, plugin, f"{key}.name")(options, topology)
    if not callable(observable_fn):
        raise RecipeError(
            f'{key}: plug-in observable "{plugin}" made a {type(observable_fn).__name__}, expected a function of '
            "positions (sample, bead, dim) in nm."
        )
    return PluginObservable(plugin, label, unit, observable_fn)

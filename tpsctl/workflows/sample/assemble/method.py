"""The method where the recipe leaves it open: routes over saddles for small molecules on an energy landscape."""

from collections.abc import Callable

import torch

from tpsctl.prior.base import Prior
from tpsctl.recipe.optimize import AutoMethodSection, LevenbergMarquardtSection, RouteSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble.landscapes import why_no_saddles
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.assemble.system import System

MOST_ROUTE_ATOMS = 70
"""Largest molecule for which routes are the default; with more atoms the number of minima explodes."""


def with_method(recipe: SampleRecipe, system: Callable[[], System], prior: Callable[[], Prior]) -> SampleRecipe:
    """The recipe with its method chosen, if it left the choice open.

    Args:
        recipe: The recipe.
        system: Gives its ends, which are only asked for if the method is open.
        prior: Gives its prior, asked for as seldom.
    """
    if not isinstance(recipe.optimize, AutoMethodSection):
        return recipe
    ends = system()
    small = ends.is_molecule and ends.topology.n_atoms <= MOST_ROUTE_ATOMS
    if small and not why_no_routes(ends, prior(), precision_of(recipe.prior)):
        return recipe.model_copy(update={"optimize": RouteSection()})
    return recipe.model_copy(update={"optimize": LevenbergMarquardtSection(method="levenberg_marquardt")})


def why_no_routes(system: System, prior: Prior, precision: torch.dtype) -> str:
    """Why routes cannot be searched on the landscape of this prior, in words; "" if they can.

    Args:
        system: The ends.
        prior: The prior.
        precision: The precision in which it computes.
    """
    if fault := why_no_saddles(system):
        return fault
    some_time = 0.5 if prior.generative else 0.0
    if not prior.conservative or prior.log_density(system.ends[:1].to(precision), some_time) is None:
        return f'prior "{prior.kind}" gives a score without an energy, so that there are no saddles to verify'
    return ""

"""The method where the recipe leaves it open: routes over saddles, where the prior is a landscape and the molecule small."""

from collections.abc import Callable

import torch

from tpsctl.prior.base import Prior
from tpsctl.recipe.optimize import AutoMethodSection, LevenbergMarquardtSection, RouteSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.assemble.system import System

MOST_ROUTE_ATOMS = 70
"""Largest molecule for which routes are the default; with more atoms the number of minima explodes."""

DEFAULT_STEPS = 400
"""Most steps of the minimizer where the recipe names no method."""

SOLVENT = frozenset({"HOH", "WAT", "SOL", "TIP3", "TP3", "T3P", "SPC"})
"""Residue names of water."""


def with_method(recipe: SampleRecipe, system: System, prior: Callable[[], Prior]) -> SampleRecipe:
    """The recipe with its method chosen, if it left the choice open.

    Args:
        recipe: The recipe.
        system: Its ends.
        prior: Gives its prior, which is only asked for if the method is open.
    """
    if not isinstance(recipe.optimize, AutoMethodSection):
        return recipe
    small = system.is_molecule and system.topology.n_atoms <= MOST_ROUTE_ATOMS
    if small and not why_no_routes(system, prior(), precision_of(recipe.prior)):
        return recipe.model_copy(update={"optimize": RouteSection()})
    minimizer = LevenbergMarquardtSection(method="levenberg_marquardt", max_steps=DEFAULT_STEPS)
    return recipe.model_copy(update={"optimize": minimizer})


def why_no_routes(system: System, prior: Prior, precision: torch.dtype) -> str:
    """Why routes cannot be searched on the landscape of this prior, in words; "" if they can.

    Args:
        system: The ends.
        prior: The prior.
        precision: The precision in which it computes.
    """
    if not system.is_molecule:
        return "the endpoints are points of a model potential, and a search for routes needs a molecule"
    solvent = sorted({atom.residue_name for atom in system.topology.atoms} & SOLVENT)
    if solvent:
        return (
            f"the ends hold water ({', '.join(solvent)}). With explicit solvent every state of the molecule has "
            "countless minima, and a saddle between two of them says nothing about the molecule. Take the water out, "
            "and use an implicit solvent"
        )
    some_time = 0.5 if prior.generative else 0.0
    if not prior.conservative or prior.log_density(system.ends[:1].to(precision), some_time) is None:
        return f'prior "{prior.kind}" gives a score without an energy, so that there are no saddles to verify'
    return ""

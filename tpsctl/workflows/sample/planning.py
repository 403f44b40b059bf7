"""What a run of a recipe would compute, in which batches, and where its result goes."""

from pathlib import Path

import torch

from tpsctl.errors import RecipeError
from tpsctl.jobs.plan import Plan
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.devices import batch_paths, gpus_for
from tpsctl.workflows.sample.identity import identify
from tpsctl.workflows.sample.settings import RunSettings

ATTEMPTS_TOGETHER = 6


def make_plan(recipe: SampleRecipe, settings: RunSettings, device: torch.device) -> Plan:
    """The plan of a new run of this recipe."""
    directory = run_directory(recipe, settings)
    sharing = settings.shard.of if settings.shard else max(1, len(gpus_for(settings.device)))
    size = attempts_together(recipe) if recipe.route else batch_paths(recipe, device, sharing)
    origin = (*settings.origin, "--out", str(directory))
    replaces = settings.overwrite and (directory / "manifest.json").exists()
    return Plan(directory, identify(recipe), recipe.path.paths, size, replaces, origin, recipe.route is not None)


def attempts_together(recipe: SampleRecipe) -> int:
    """Attempts of a search for routes that one process does together: few, so that several processes share a round."""
    return recipe.path.batch_paths or ATTEMPTS_TOGETHER


def run_directory(recipe: SampleRecipe, settings: RunSettings) -> Path:
    """Where the result goes."""
    return (settings.out or recipe.output.directory).resolve()


def require_unchanged(recipe: SampleRecipe, plan: Plan) -> None:
    """Refuse to gather batches that were made from other input files than are there now.

    Raises:
        RecipeError: An input file has changed since.
    """
    if identify(recipe)["digest"] != plan.digest:
        raise RecipeError(f"{plan.directory}: an input file has changed since the batches were made. Restore it.")

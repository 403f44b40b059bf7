"""`tpsctl gather`: finished batches -> one verified run directory."""

import json
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import RecipeError
from tpsctl.jobs.batches import BatchedJob, gather_batches
from tpsctl.jobs.plan import Plan
from tpsctl.progress import Progress
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.committor import with_committor
from tpsctl.workflows.sample.planning import require_unchanged
from tpsctl.workflows.sample.run import job_of
from tpsctl.workflows.sample.tools import Tools


def gather(directory: Path, progress: Progress, *, scratch: Path | None = None) -> dict[str, Any]:
    """Make the result of all batches in a run directory, and shoot from it if its recipe says so; its manifest.

    Raises:
        RecipeError: There is no run in the directory, or an input file has changed since.
        OutputError: Batches are missing, with the commands that make them; or a file cannot be written.
    """
    manifest = gather_batches(directory, lambda plan: _search(plan, progress), progress, scratch=scratch)
    if not manifest["recipe"].get("validation", {}).get("committor"):
        return manifest
    return with_committor(manifest, threads=None, max_hours=None, progress=progress)


def _search(plan: Plan, progress: Progress) -> BatchedJob:
    """The job of a plan, made anew from what the plan says."""
    if plan.subcommand == "guide":
        from tpsctl.workflows.guide.run import job_of_plan

        return job_of_plan(plan, progress)
    if plan.subcommand != "sample":
        raise RecipeError(f"{plan.directory}: this is a job of another command, which gathers itself: {plan.command()}")
    recipe = SampleRecipe.model_validate_json(json.dumps(plan.identity["recipe"]))
    require_unchanged(recipe, plan)
    return job_of(Tools(recipe, torch.device("cpu"), threads=1), progress)

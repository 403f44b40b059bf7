"""What wraps a run from outside: its plan, its shards and processes, and the end of it.

The batches of a run are the same for any number of shards and processes, and a kill at any moment loses at most what
was done since the last snapshot (docs/batch.md). What a batch is, and what is written of all, the job says.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tpsctl.errors import RecipeError
from tpsctl.jobs.batches import BatchedJob, compute_batches, gather_batches
from tpsctl.jobs.keeper import KeepingSettings, ShardKeeper
from tpsctl.jobs.plan import Plan, leaving_nothing, open_plan, read_plan
from tpsctl.jobs.shard import WHOLE
from tpsctl.jobs.side_by_side import run_side_by_side
from tpsctl.progress import Progress
from tpsctl.workflows.sample.devices import require_usable
from tpsctl.workflows.sample.hardware import processes
from tpsctl.workflows.sample.planning import make_plan, require_unchanged
from tpsctl.workflows.sample.settings import RunSettings, scratch_folder, scratch_place
from tpsctl.workflows.sample.tools import Tools


def survive(job: BatchedJob, tools: Tools, settings: RunSettings, progress: Progress) -> dict[str, Any]:
    """Do a job or a shard of it, go on with it, or find that it was done; the manifest, or what the shard did.

    Raises:
        RecipeError: The run directory belongs to another recipe, or the settings contradict each other.
        Interrupted: The job was told to stop; what it had done is saved.
    """
    if settings.shard and settings.overwrite:
        raise RecipeError("--overwrite: throws the work of all shards away; not with --shard. Choose another --out.")
    scratch_place(settings.scratch)  # refused before anything is written
    wanted = make_plan(tools.recipe, settings, tools.device)
    begun = settings.shard or not (settings.overwrite or read_plan(wanted.directory) is None)
    plan = open_plan(wanted, overwrite=settings.overwrite, resume=settings.resume, shard=settings.shard or WHOLE)
    if not isinstance(plan, Plan):
        where = wanted.directory
        progress.say(f"{where}: this recipe was run here already; nothing to do (--overwrite runs it again).")
        return plan | {"directory": str(where)}
    alone = nullcontext() if begun else leaving_nothing(plan)  # another process may work on what was begun
    with scratch_folder(settings.scratch) as scratch, alone:
        done = _compute(job, plan, tools, settings, scratch, progress)
        if settings.shard:
            return done

        def the_same(gathered: Plan) -> BatchedJob:
            require_unchanged(tools.recipe, gathered)
            return job

        return gather_batches(plan.directory, the_same, progress, scratch=scratch)


def _compute(
    job: BatchedJob, plan: Plan, tools: Tools, settings: RunSettings, scratch: Path | None, progress: Progress
) -> dict[str, Any]:
    """Compute all batches of the plan, or of a shard; what the shard did, nothing if several processes did it."""
    shares = processes(plan, tools, settings)
    if len(shares) > 1:
        route = tools.recipe.route
        run_side_by_side(plan, shares, progress, rounds=route.max_rounds + 1 if route else 0)
        return {}
    require_usable(tools.device)
    keeping = KeepingSettings(settings.max_hours, settings.save_every_s, scratch)
    keeper = ShardKeeper(plan, settings.shard or WHOLE, keeping, progress)
    keeper.status.gpu = tools.machine["gpu"]
    return compute_batches(job, plan, keeper, progress)

"""`tpsctl submit`: check on the login node, write the batch scripts, hand them to Slurm.

The array job runs the shards, the gather job waits for all of them (`afterok`). Time and memory come from
a short trial (`check`) unless both are given; then nothing is computed here.
"""

import getpass
import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tpsctl import __version__
from tpsctl.errors import RecipeError, TpsctlError
from tpsctl.files import write_text
from tpsctl.jobs.directory import earlier_result
from tpsctl.jobs.plan import Plan, read_plan
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.slurm import client
from tpsctl.jobs.slurm.options import gpus_of_task
from tpsctl.jobs.slurm.script import Submission, array_script, as_time, gather_script, seconds_of
from tpsctl.progress import Progress
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.check import Estimate, check_recipe
from tpsctl.workflows.sample.devices import gains_on_gpu
from tpsctl.workflows.sample.planning import make_plan
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

_SHORTEST_S, _LONGEST_S = 600.0, 86400.0
"""Limits of the time that is asked for when --time is not given; a longer run goes on after a requeue."""

_TIME_MARGIN, _MEMORY_MARGIN = 1.2, 1.5


@dataclass(frozen=True)
class SubmitSettings:
    """Where and how the shards are run; nothing here changes the result.

    Attributes:
        shards: Number of array tasks.
        out: Run directory instead of the recipe's.
        assignments: Changes of the recipe, as after `--set`.
        options: Options of sbatch, long names without dashes.
        setup: Shell lines before the command.
        command: How to start tpsctl on a node; None for this installation.
        max_parallel: Tasks at once.
        requeues: How often a task may put itself back into the queue.
    """

    shards: int
    out: Path | None = None
    assignments: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    command: str | None = None
    max_parallel: int | None = None
    requeues: int = 20


def submit_recipe(file: Path, recipe: SampleRecipe, settings: SubmitSettings, progress: Progress) -> dict[str, Any]:
    """Check, write the scripts, submit both jobs; what was done."""
    client.require()
    job, facts = prepare(file, recipe, settings, progress)
    _refuse_what_cannot_be(job)
    write_text(job.array_file, array_script(job))
    write_text(job.gather_file, gather_script(job))
    array = client.submit(job.array_file)
    try:
        gather = client.submit(job.gather_file, after=array)
    except BaseException:  # also a signal: an array without its gather job is not left in the queue
        client.cancel(array)
        raise
    return facts | {"array_job": array, "gather_job": gather, "scripts": [str(job.array_file), str(job.gather_file)]}


def scripts_of(file: Path, recipe: SampleRecipe, settings: SubmitSettings, progress: Progress) -> dict[str, str]:
    """Both scripts by file name, as `submit_recipe` would write them; nothing is written or submitted."""
    job, _ = prepare(file, recipe, settings, progress)
    return {str(job.array_file): array_script(job), str(job.gather_file): gather_script(job)}


def prepare(
    file: Path, recipe: SampleRecipe, settings: SubmitSettings, progress: Progress
) -> tuple[Submission, dict[str, Any]]:
    """What the scripts will say, after the checks, and the facts for whoever submits.

    Raises:
        TpsctlError: A check failed.
    """
    recipe = Tools(recipe, torch.device("cpu"), threads=1).recipe
    plan = _plan(recipe, settings)
    shards = min(settings.shards, plan.shares)
    if shards < settings.shards:
        parts = ("attempts", "blocks") if plan.together else ("paths", "batches")
        text = f"{plan.paths} {parts[0]} in {parts[1]} of {plan.batch_paths} make {plan.shares} {parts[1]}"
        progress.say(f"{text}: {shards} shards instead of {settings.shards} (path.batch_paths changes the size)")
    paths = min(plan.paths, math.ceil(plan.shares / shards) * plan.batch_paths)
    options = _with_defaults(settings, _preflight(recipe, settings, progress), plan.batch_paths, paths, progress)
    job = Submission(
        name=recipe.name,
        recipe=file.resolve(),
        directory=plan.directory,
        shards=shards,
        options=options,
        assignments=settings.assignments,
        setup=settings.setup,
        command=settings.command or f"{shlex.quote(sys.executable)} -m tpsctl",
        max_parallel=settings.max_parallel,
        requeues=settings.requeues,
        working_directory=Path.cwd(),
        version=__version__,
    )
    facts = {"directory": str(job.directory), "shards": shards, "paths_per_shard": paths, "options": options}
    return job, facts


def _preflight(recipe: SampleRecipe, settings: SubmitSettings, progress: Progress) -> Estimate | None:
    """All checks; the trial steps only if a time or a memory is to be estimated."""
    memory_given = any(name.startswith("mem") for name in settings.options)
    threads = int(settings.options.get("cpus-per-task", 1))
    run = RunSettings(out=settings.out, threads=threads)
    report = check_recipe(recipe, run, trial=not ("time" in settings.options and memory_given))
    for finding in report.findings:
        if finding.verdict == "warn":
            progress.say(f"{finding.what}: {finding.text}")
    if not report.passed:
        failed = [f"{finding.what}: {finding.text}" for finding in report.findings if finding.verdict == "FAIL"]
        raise TpsctlError("\n".join(["nothing was submitted, because a check failed:", *failed]))
    return report.estimate


def _plan(recipe: SampleRecipe, settings: SubmitSettings) -> Plan:
    """The batches that the shards will be made of: those of the unfinished run there is, or of a new one.

    Raises:
        RecipeError: The run is complete already, or more GPUs are asked for than a shard uses.
    """
    gpus = gpus_of_task(settings.options)
    if gpus > 1:
        raise RecipeError(
            f"{gpus} GPUs for each shard: a shard computes on one, and the others would idle. Ask for one "
            f"(--gres=gpu:1) and give --shards {gpus * settings.shards}; or, where nodes are lent as a whole, run "
            "`tpsctl sample` without --shard in one job: it uses all GPUs of its node."
        )
    device = torch.device("cuda" if gpus and gains_on_gpu(recipe) else "cpu")
    new = make_plan(recipe, RunSettings(out=settings.out, shard=Shard(1, settings.shards)), device)
    unfinished = read_plan(new.directory)
    if unfinished is None and earlier_result(new.directory, new.digest, new.identity, overwrite=False) is not None:
        raise RecipeError(f"{new.directory}: this recipe was run here already; nothing to submit.")
    return unfinished or new


def _with_defaults(
    settings: SubmitSettings, estimate: Estimate | None, at_once: int, paths: int, progress: Progress
) -> dict[str, str]:
    """The options with the time and memory that the trial suggests, where they are not given."""
    options = dict(settings.options)
    if estimate is None:
        return options
    seconds, gigabytes = estimate.seconds(paths), estimate.memory_bytes(at_once) / 1e9
    progress.say(f"trial here, per shard of {paths} paths: at most {as_time(seconds)}, {gigabytes:.1f} GB of memory")
    if "time" not in options:
        asked = min(max(_SHORTEST_S, _TIME_MARGIN * seconds), _LONGEST_S)
        options["time"] = as_time(60 * math.ceil(asked / 60))
        progress.say(f"--time {options['time']} (give --time for another)")
    if not any(name.startswith("mem") for name in options):
        options["mem"] = f"{math.ceil(_MEMORY_MARGIN * gigabytes)}G"
        progress.say(f"--mem {options['mem']} (give --mem for another)")
    runs = math.ceil(seconds / (seconds_of(options["time"]) or math.inf))
    if runs > settings.requeues + 1:
        progress.say(f"a shard may take {runs} times its time limit: raise --time, or --requeues to {runs}")
    return options


def _refuse_what_cannot_be(job: Submission) -> None:
    """More tasks than the cluster allows, or jobs of this very run that are still there.

    Raises:
        RecipeError: With what to do.
    """
    largest = client.largest_array_index()
    if largest is not None and job.shards > largest:
        raise RecipeError(f"--shards {job.shards}: this cluster allows at most {largest} (MaxArraySize).")
    tasks = client.tasks_of([job.array_file, job.gather_file], getpass.getuser())
    there = sorted({str(task.job) for task in tasks if task.active})
    if there:
        raise RecipeError(
            f"{job.directory}: jobs {', '.join(there)} of this run are still in the queue. "
            f"Wait for them (`tpsctl status {job.directory}`), or end them first: scancel {' '.join(there)}"
        )

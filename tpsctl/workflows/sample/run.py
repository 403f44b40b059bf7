"""The main job: recipe -> batches of paths, each guessed, optimized and judged -> files; resumable at any moment."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import RecipeError
from tpsctl.jobs.plan import Plan, open_plan
from tpsctl.jobs.shard import WHOLE, Shard
from tpsctl.jobs.side_by_side import run_side_by_side
from tpsctl.jobs.store import write_state
from tpsctl.jobs.watch import Watch, watching
from tpsctl.progress import Progress
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.doctor import default_threads
from tpsctl.workflows.sample.batch import Tools, work_on
from tpsctl.workflows.sample.gather import gather, read_batch
from tpsctl.workflows.sample.identity import identify

BATCH_PATHS = {"cpu": 2, "cuda": 32}
"""Paths per batch by type of device, where the recipe does not say."""


@dataclass(frozen=True)
class Settings:
    """Where and how a run is done; nothing here changes the result.

    Attributes:
        out: Run directory instead of the recipe's.
        overwrite: Whether an earlier result may be replaced, and unfinished work thrown away.
        resume: Whether there must be something to go on with.
        shard: Which of the batches; None for all, and the files of the result.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all.
        max_hours: Time after which to stop, resumable; None for none.
        save_every_s: Seconds between two snapshots: what a kill can cost.
        scratch: Folder on a local disk; None for $SLURM_TMPDIR or $TMPDIR.
        origin: Words after `tpsctl sample` that run the recipe again, for messages.
    """

    out: Path | None = None
    overwrite: bool = False
    resume: bool = False
    shard: Shard | None = None
    device: str = "auto"
    threads: int | None = None
    max_hours: float | None = None
    save_every_s: float = 300.0
    scratch: Path | None = None
    origin: tuple[str, ...] = ()


def run_recipe(recipe: SampleRecipe, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Run a recipe or a shard of it, go on with it, or find that it was run; the manifest, or what the shard did."""
    if settings.shard and settings.overwrite:
        raise RecipeError("--overwrite: throws the work of all shards away; not with --shard. Choose another --out.")
    device, threads = use_hardware(settings)
    found = open_plan(make_plan(recipe, settings, device), overwrite=settings.overwrite, resume=settings.resume)
    if not isinstance(found, Plan):
        directory = run_directory(recipe, settings)
        progress.say(f"{directory}: this recipe was run here already; nothing to do (--overwrite runs it again).")
        return found | {"directory": str(directory)}
    tools = Tools(recipe, device, threads)
    options = processes(found, tools, settings)
    with scratch_folder(settings.scratch) as scratch:
        if len(options) > 1:
            run_side_by_side(found, options, progress)
            return gather(found.directory, progress, scratch=scratch)
        done = work(found, tools, settings, scratch, progress)
        return done if settings.shard else gather(found.directory, progress, scratch=scratch)


def processes(plan: Plan, tools: Tools, settings: Settings) -> list[list[str]]:
    """Options of the processes that share the work: one for each GPU, or for each CPU thread; at most one per batch.

    One process, with no options, for a shard, for a model potential, and for networks that use all threads at once.
    """
    missing = sum(not plan.batch_file(batch).exists() for batch in range(plan.batches))
    saving = ["--save-every", str(settings.save_every_s)]
    if settings.shard or not settings.origin:
        return [[]]
    if tools.device.type == "cuda" and settings.device in ("auto", "cuda"):
        return [["--device", f"cuda:{gpu}", *saving] for gpu in range(min(torch.cuda.device_count(), missing))]
    if tools.device.type == "cpu" and tools.system.is_molecule and tools.prior.one_thread:
        return [["--threads", "1", *saving] for _ in range(min(tools.threads, missing))]
    return [[]]


def work(plan: Plan, tools: Tools, settings: Settings, scratch: Path | None, progress: Progress) -> dict[str, Any]:
    """All batches of a shard that are not there yet; what the shard has done."""
    shard = settings.shard or WHOLE
    watch = Watch(plan, shard, settings.save_every_s, settings.max_hours, scratch, progress)
    watch.status.gpu = tools.machine["gpu"]
    good = True
    with watching(watch):
        for number in plan.batches_of(shard):
            batch = read_batch(plan, number)
            if batch is None:
                progress.say(f"batch {number + 1} of {plan.batches}: {_words(plan.numbers(number))}")
                watch.begin(number)
                batch = work_on(plan.numbers(number), tools, watch, progress)
                tensors, facts = batch.store()
                write_state(plan.batch_file(number), tensors, facts | {"digest": plan.digest})
            watch.finish(number)
            good = good and batch.is_good
        watch.complete(good=good)
    return watch.summary()


def make_plan(recipe: SampleRecipe, settings: Settings, device: torch.device) -> Plan:
    """What a new run of this recipe would compute, and in which batches."""
    directory = run_directory(recipe, settings)
    size = recipe.path.batch_paths or BATCH_PATHS.get(device.type, BATCH_PATHS["cuda"])
    origin = (*settings.origin, "--out", str(directory))
    replaces = settings.overwrite and (directory / "manifest.json").exists()
    return Plan(directory, identify(recipe), recipe.path.paths, size, replaces, origin)


def run_directory(recipe: SampleRecipe, settings: Settings) -> Path:
    """Where the result goes."""
    return (settings.out or recipe.output.directory).resolve()


def use_hardware(settings: Settings) -> tuple[torch.device, int]:
    """The device and the number of threads, set for torch."""
    threads = settings.threads or default_threads()
    torch.set_num_threads(threads)
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"--device {name}: not usable here: {reason}. `tpsctl doctor` lists devices.") from None
    return device, threads


@contextmanager
def scratch_folder(wanted: Path | None) -> Iterator[Path | None]:
    """A folder of our own on a local disk, gone at the end; None where there is no such disk."""
    place = wanted or next((Path(p) for name in ("SLURM_TMPDIR", "TMPDIR") if (p := os.environ.get(name))), None)
    if place is None:
        yield None
        return
    if not place.is_dir():
        raise RecipeError(f"--scratch {place}: no such folder. Make it, or name another.")
    with tempfile.TemporaryDirectory(prefix="tpsctl-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _words(numbers: range) -> str:
    return f"paths {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"path {numbers[0]}"

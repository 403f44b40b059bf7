"""The main job: a recipe in; paths guessed, optimized, judged and written.

`PathSearch.compute` says what happens to the paths of one batch, and `PathSearch.write` what is written of all of them.
`survive` wraps them from outside: it makes the plan, shares the batches among processes, calls `compute` for each batch
that is missing, and `write` at the end. Nothing of it changes a path, so that it can be left for later reading.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpsctl.action.memory import explained_out_of_memory
from tpsctl.jobs.batches import BatchedJob, StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.progress import Progress
from tpsctl.recipe.loader import require_files
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.batch import Attempt, PathBatch, now
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.sample.committor import require_shootable, with_committor
from tpsctl.workflows.sample.devices import paths_fit
from tpsctl.workflows.sample.guesses import draw_guesses
from tpsctl.workflows.sample.halves import compute_in_parts
from tpsctl.workflows.sample.hardware import use_hardware
from tpsctl.workflows.sample.judge import judge, with_bound, with_saddles
from tpsctl.workflows.sample.optimization import optimize
from tpsctl.workflows.sample.present import present
from tpsctl.workflows.sample.results import write_results
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.survive import survive
from tpsctl.workflows.sample.tools import Tools


def run_recipe(recipe: SampleRecipe, settings: RunSettings, progress: Progress) -> dict[str, Any]:
    """Run a recipe or a shard of it, go on with it, or find that it was run; the manifest, or what the shard did."""
    started = time.monotonic()
    require_files(recipe)
    tools = Tools(recipe, *use_hardware(settings, recipe))
    assemble.judges_saddles(recipe, tools.given_system)  # raises, before any work, if the recipe wants the impossible
    if tools.device_note:
        progress.say(tools.device_note)
    require_shootable(tools)
    done = survive(job_of(tools, progress), tools, settings, progress)
    if settings.shard or not recipe.validation.committor:
        return done
    left = None if settings.max_hours is None else settings.max_hours - (time.monotonic() - started) / 3600
    return with_committor(done, threads=settings.threads, max_hours=left, progress=progress)


def job_of(tools: Tools, progress: Progress) -> BatchedJob:
    """The job of a recipe: a search for routes over saddles, or paths that are minimized from guesses."""
    if tools.recipe.route is not None:
        from tpsctl.workflows.sample.routes.job import RouteSearch

        return RouteSearch(tools, progress)
    return PathSearch(tools, progress)


class PathSearch(BatchedJob):
    """The paths of a recipe, batch by batch: guess, optimize, judge; then write them all."""

    def __init__(self, tools: Tools, progress: Progress) -> None:
        self._tools, self._progress = tools, progress

    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Guess, optimize and judge the paths of these numbers.

        Raises:
            Interrupted: The job was told to stop; what it had done is saved.
            MemoryShortageError: Memory does not suffice for one path.
        """
        tools = self._tools
        return compute_in_parts(
            self._compute,
            numbers,
            keeper,
            device=tools.device,
            fits=lambda count: paths_fit(tools.recipe, tools.system, tools.device, count),
            progress=self._progress,
        )

    def _compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        with explained_out_of_memory(f"working on {len(numbers)} paths", "Use a machine with more memory."):
            return self._computed(numbers, keeper)

    def _computed(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        attempt = self._begin(numbers, keeper)
        paths, stages = self._optimize(attempt, keeper)
        attempt.clock.lap("optimize")
        keeper.enter(stage="validation")
        self._progress.say(f"validating {len(paths)} x {paths.shape[1]} images ...")
        verdict = with_bound(self._tools, judge(self._tools, paths), paths, stages[-1].terms)
        attempt.clock.lap("validate")
        if self._tools.judges_saddles:
            self._progress.say(f"validating saddles: the tops of {len(paths)} paths ...")
            verdict = with_saddles(self._tools, verdict, paths, numbers)
            attempt.clock.lap("saddles")
        facts = attempt.facts | {
            "seconds": attempt.clock.seconds,
            "prior_force_field": self._tools.prior_force_field,
            "chosen": self._tools.chosen.as_json(),
        }
        return PathBatch(paths, stages, attempt.trace, attempt.screening, verdict, facts).store()

    def is_good(self, batch: StoredBatch) -> bool:
        """Whether every path of a batch converged and passed the gate."""
        return PathBatch.from_stored(*batch).is_good

    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write trajectories and tables of all batches; the manifest."""
        return write_results(folder, self._tools, [PathBatch.from_stored(*batch) for batch in batches])

    def present(self, folder: Path) -> None:
        """Draw the figures and write the report, as far as the recipe wants them."""
        present(self._tools.recipe, folder)

    def _begin(self, numbers: range, keeper: ShardKeeper) -> Attempt:
        """Draw the guesses, or take up what an interrupted attempt saved last."""
        saved = keeper.newest()
        if saved is not None:
            attempt = Attempt.from_snapshot(*saved, self._tools.device)
            self._progress.say(f"going on after step {attempt.trace.steps} of paths {numbers[0]} to {numbers[-1]}")
            return attempt
        _ = self._tools.judges_saddles  # raises, before any work, if no landscape can judge what the recipe wants
        keeper.enter(stage="guess")
        clock, facts = Clock(), {"machine": self._tools.machine, "started": now()}
        paths, screening = draw_guesses(self._tools, numbers, self._progress)
        clock.lap("guess")
        return Attempt(paths, screening, clock, facts)

    def _optimize(self, attempt: Attempt, keeper: ShardKeeper) -> tuple[Any, Any]:
        """Optimize from where the attempt is; snapshots are taken on the way."""
        with keeper.between_steps(lambda state: keeper.save(*attempt.snapshot(state))) as between_steps:
            return optimize(
                self._tools,
                attempt.paths,
                self._progress,
                trace=attempt.trace,
                state=attempt.state,
                on_step=keeper.on_step,
                between_steps=between_steps,
            )

"""What goes on beside the work of a shard: its lease and status are kept, it is told to stop, snapshots are taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tpsctl.errors import Interrupted, RecipeError, StateError
from tpsctl.jobs.interruption import RESUMABLE, noted_interruptions
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.plan import Plan, require_idle
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.shard_status import Status, StatusFile
from tpsctl.jobs.snapshots import Snapshots, remove_leftovers
from tpsctl.optimize.base import StepReport
from tpsctl.optimize.state import BetweenSteps, State
from tpsctl.progress import Progress

NOT_VALID = 3
"""Exit code of a job that ran, but whose paths are not all converged and valid."""

_WORTH_SAVING_S = 10.0
"""Seconds of work that a kill during validation may cost; a batch with more is saved before."""


class Watch:
    """Over one shard, from `watching` until its end.

    Attributes:
        snapshots: Those of the batch under way.
        status: What is known of the shard.
    """

    def __init__(
        self,
        plan: Plan,
        shard: Shard,
        save_every_s: float,
        max_hours: float | None,
        scratch: Path | None,
        progress: Progress,
    ) -> None:
        self.plan, self.shard, self._every_s, self._max_hours = plan, shard, save_every_s, max_hours
        self._scratch, self._progress = scratch, progress
        self.folder = plan.shard_folder(shard)
        batches = plan.batches_of(shard)
        paths = sum(len(plan.numbers(batch)) for batch in batches)
        self.status = Status(shard.number, shard.of, batches, paths)
        self.file = StatusFile(self.folder / "status.json", self.status)
        self.lost: Callable[[], bool] = lambda: False
        self.snapshots = self._snapshots("none")

    @property
    def resume_command(self) -> str:
        return self.plan.command(self.shard)

    def begin(self, batch: int) -> None:
        """The next batch."""
        self.snapshots = self._snapshots(f"running-{batch:05d}")
        self.tell(stage="")

    def finish(self, batch: int) -> None:
        """A batch is done, and its file written."""
        self.snapshots.clear()
        self.status.batches_done += 1
        self.status.paths_done += len(self.plan.numbers(batch))
        self.status.action_total = []
        self.file.write()

    def complete(self, *, good: bool) -> None:
        """All batches are done."""
        self.status.state, self.status.stage, self.status.exit_code = "complete", "", 0 if good else NOT_VALID

    def summary(self) -> dict[str, Any]:
        """What the shard did, for whoever ran it."""
        status, missing = self.status, [k for k in range(self.plan.batches) if not self.plan.batch_file(k).exists()]
        return {
            "shard": str(self.shard),
            "outcome": "complete" if status.exit_code == 0 else "not_valid",
            "directory": str(self.plan.directory),
            "batches": status.batches,
            "paths": status.paths_done,
            "batches_missing_of_all_shards": len(missing),
        }

    def tell(self, *, stage: str) -> None:
        """What is done now."""
        self.status.stage, self.status.step = stage, 0
        self.file.write()

    def on_step(self, report: StepReport) -> None:
        """Note a step of the optimizer; the first is written at once, the others with the next beat."""
        first = self.status.step == 0
        self.status.stage, self.status.step = report.stage, report.step
        self.status.action_total = report.terms.total.tolist()
        if first:
            self.file.write()

    @contextmanager
    def between_steps(self, save: Callable[[State], None]) -> Iterator[BetweenSteps]:
        """A hook that saves a snapshot when it is due, or when the job is told to stop, which it then does."""
        latest: list[Callable[[], State]] = []
        with noted_interruptions(self._max_hours) as asked:

            def hook(take: Callable[[], State]) -> None:
                latest[:] = [take]
                code = asked()
                if self.lost():
                    raise StateError(f"{self.folder}: another process took this shard over; this one stops.")
                if code or self.snapshots.due:
                    save(take())
                if code:
                    raise Interrupted("stopped between two steps, state saved.", code)

            yield hook
            if latest and self.snapshots.age_s > _WORTH_SAVING_S:
                save(latest[0]())

    def _snapshots(self, name: str) -> Snapshots:
        every_s, say = self._every_s, self._progress.say
        return Snapshots(self.folder, name, self.plan.digest, every_s=every_s, say=say, scratch=self._scratch)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Hold the lease of a shard, keep its status, and say at the end how to go on."""
    with leased(Lease(watch.folder / "lease.json"), also=watch.file.write) as watch.lost:
        require_idle(watch.plan, watch.shard)
        remove_leftovers(watch.folder)
        watch.file.write()
        try:
            yield
        except BaseException as error:
            raise _ended(watch, error) from None
        finally:
            watch.file.write()


def _ended(watch: Watch, error: BaseException) -> BaseException:
    """Note in the status how the work ended; what ended it, or an `Interrupted` that says how to go on."""
    code = _exit_code(error)
    status = watch.status
    status.exit_code, status.message = code, str(error)
    status.state = "stopped" if code in (RESUMABLE, 130, 143) else "failed"
    if status.state == "failed":
        return error
    what = str(error) if isinstance(error, Interrupted) else "interrupted; what was saved before is there."
    status.message = what
    return Interrupted(f"{what}\nGo on with: {watch.resume_command}", code)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, Interrupted):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 2 if isinstance(error, RecipeError) else 1

"""What goes on beside the work of a shard: its lease and status are kept, it is told to stop, snapshots are taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.errors import ExitCode, Interrupted, StateError, exit_code_of
from tpsctl.jobs.interruption import EXIT_CODES, noted_interruptions
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.plan import Plan, require_idle
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.shard_status import ShardStatus, StatusFile
from tpsctl.jobs.snapshots import Content, Snapshots, remove_leftovers
from tpsctl.optimize.base import StepReport
from tpsctl.optimize.state import BetweenSteps, State
from tpsctl.progress import Progress

_WORTH_SAVING_S = 10.0
"""Seconds of work that a kill during validation may cost; a batch with more is saved before."""


@dataclass(frozen=True)
class KeepingSettings:
    """How the work of a shard is kept; nothing here changes the result.

    Attributes:
        max_hours: Time after which to stop, resumable; None for none.
        save_every_s: Seconds between two snapshots: what a kill can cost.
        scratch: Folder on a fast local disk where snapshots are written first; None to write them in place.
    """

    max_hours: float | None = None
    save_every_s: float = 300.0
    scratch: Path | None = None


class ShardKeeper:
    """Keeps the state of one shard from `keeping` until its end.

    Attributes:
        snapshots: The snapshots of the batch under way.
        status: What is known of the shard.
    """

    def __init__(self, plan: Plan, shard: Shard, settings: KeepingSettings, progress: Progress) -> None:
        self.plan, self.shard, self._settings, self._progress = plan, shard, settings, progress
        self.folder = plan.shard_folder(shard)
        batches = plan.batches_of(shard)
        paths = sum(len(plan.numbers(batch)) for batch in batches)
        self.status = ShardStatus(shard.number, shard.of, batches, paths)
        self.file = StatusFile(self.folder / "status.json", self.status)
        self.lost: Callable[[], bool] = lambda: False
        self.snapshots = self._snapshots("none")

    @property
    def resume_command(self) -> str:
        """The command that goes on with this shard."""
        return self.plan.command(self.shard)

    def begin(self, batch: int) -> None:
        """Note that the work on this batch begins."""
        self.snapshots = self._snapshots(f"running-{batch:05d}")
        self.enter(stage="")

    def finish(self, batch: int) -> None:
        """Note that a batch is done and its file is written."""
        self.snapshots.clear()
        self.status.batches_done += 1
        self.status.paths_done += len(self.plan.numbers(batch))
        self.status.action_total = []
        self.file.write()

    def complete(self, *, good: bool) -> None:
        """Note that all batches are done, and whether every path is converged and valid."""
        self.status.state, self.status.stage = "complete", ""
        self.status.exit_code = ExitCode.COMPLETE if good else ExitCode.NOT_VALID

    def summary(self) -> dict[str, Any]:
        """What the shard did, for whoever ran it."""
        status, missing = self.status, [k for k in range(self.plan.batches) if not self.plan.batch_file(k).exists()]
        return {
            "shard": str(self.shard),
            "outcome": "complete" if status.exit_code == ExitCode.COMPLETE else "not_valid",
            "directory": str(self.plan.directory),
            "batches": status.batches,
            "paths": status.paths_done,
            "batches_missing_of_all_shards": len(missing),
        }

    def newest(self) -> Content | None:
        """What an interrupted attempt at this batch saved last; None if it saved nothing."""
        return self.snapshots.newest()

    @contextmanager
    def part(self, letter: str) -> Iterator[None]:
        """Keep snapshots of a half of what is worked on, apart from those of the other half and of the whole."""
        whole = self.snapshots
        self.snapshots = self._snapshots(whole.name + letter)
        try:
            yield
        finally:
            self.snapshots = whole

    def save(self, tensors: State, facts: dict[str, Any]) -> None:
        """Keep a snapshot of the batch under way.

        Raises:
            OutputError: It cannot be written; those before it stay.
        """
        self.snapshots.save(tensors, facts)

    def enter(self, *, stage: str, step: int = 0) -> None:
        """Note which part of the work begins now."""
        self.status.stage, self.status.step = stage, step
        self.file.write()

    def on_step(self, report: StepReport) -> None:
        """Note a step of the optimizer; the first is written at once, the others with the next heartbeat."""
        first = self.status.step == 0
        self.status.stage, self.status.step = report.stage, report.step
        self.status.action_total = report.terms.total.tolist()
        if first:
            self.file.write()

    @contextmanager
    def between_steps(self, save: Callable[[State], None]) -> Iterator[BetweenSteps]:
        """Give a hook that saves a snapshot when it is due, or when the job is told to stop, which it then does."""
        latest: list[Callable[[], State]] = []
        with noted_interruptions(self._settings.max_hours) as asked:

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

    @contextmanager
    def stoppable(self) -> Iterator[Callable[[], None]]:
        """Give a function to call between two pieces of work, each of which is kept; it stops the job if told to."""
        with noted_interruptions(self._settings.max_hours) as asked:

            def stop_if_asked() -> None:
                if self.lost():
                    raise StateError(f"{self.folder}: another process took this shard over; this one stops.")
                if code := asked():
                    raise Interrupted("stopped between two pieces of work, state saved.", code)

            yield stop_if_asked

    def _snapshots(self, name: str) -> Snapshots:
        settings = self._settings
        return Snapshots(
            self.folder,
            name,
            self.plan.digest,
            every_s=settings.save_every_s,
            say=self._progress.say,
            scratch=settings.scratch,
        )


@contextmanager
def keeping(keeper: ShardKeeper) -> Iterator[None]:
    """Hold the lease of a shard, keep its status, and say at the end how to go on."""
    with leased(Lease(keeper.folder / "lease.json"), also=keeper.file.write) as keeper.lost:
        require_idle(keeper.plan, keeper.shard)
        remove_leftovers(keeper.folder)
        keeper.file.write()
        try:
            yield
        except BaseException as error:
            raise _ended(keeper, error) from None
        finally:
            keeper.file.write()


def _ended(keeper: ShardKeeper, error: BaseException) -> BaseException:
    """Note in the status how the work ended; give what ended it, or an `Interrupted` that says how to go on."""
    code = exit_code_of(error)
    status = keeper.status
    status.exit_code, status.message = code, str(error)
    status.state = "stopped" if code in EXIT_CODES.values() else "failed"
    if status.state == "failed":
        return error
    what = str(error) if isinstance(error, Interrupted) else "interrupted; what was saved before is there."
    status.message = what
    return Interrupted(f"{what}\nGo on with: {keeper.resume_command}", code)

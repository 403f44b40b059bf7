"""A training under way: its folder of snapshots, beside the checkpoint it will become.

The folder holds the identity of the run (digest of the recipe and of its input files), a lease, and the last two
snapshots. The same recipe goes on from there, another is refused, and two processes do not train the same model.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.errors import Interrupted, RecipeError, StateError
from tpsctl.files import remove_folder, write_text
from tpsctl.jobs.interruption import noted_interruptions, telling_how_to_go_on
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.snapshots import Snapshots, remove_leftovers
from tpsctl.output.manifest import shown_differences
from tpsctl.progress import Progress

_IDENTITY = "identity.json"


@dataclass(frozen=True)
class Keeping:
    """How unfinished work is kept; nothing here changes the result.

    Attributes:
        overwrite: Throw away what is there.
        resume: Refuse to begin anew.
        max_hours: Time after which to stop, resumable; None for none.
        save_every_s: Seconds between two snapshots: what a kill can cost.
        command: The command that goes on, for messages.
    """

    overwrite: bool = False
    resume: bool = False
    max_hours: float | None = None
    save_every_s: float = 60.0
    command: str = ""


class Unfinished:
    """The folder of one training, while its lease is held.

    Attributes:
        folder: Where it is.
        complete: Whether the checkpoint is in its place, so that the folder is to be removed.
    """

    def __init__(
        self, target: Path, digest: str, keeping: Keeping, lost: Callable[[], bool], progress: Progress
    ) -> None:
        self.folder, self.complete = _folder(target), False
        self._target, self._keeping, self._lost = target, keeping, lost
        self._snapshots = Snapshots(self.folder, "training", digest, every_s=keeping.save_every_s, say=progress.say)

    def newest(self) -> dict[str, Tensor] | None:
        """The tensors to go on from; None at the beginning.

        Raises:
            RecipeError: There are none, and there should be.
        """
        found = self._snapshots.newest()
        if found is None and self._keeping.resume:
            raise RecipeError(f"--resume: {self.folder} has no state. Leave --resume out to begin anew.")
        return None if found is None else found[0]

    def save(self, tensors: dict[str, Tensor]) -> None:
        """Save a state now."""
        self._snapshots.save(tensors, {})

    @contextmanager
    def stoppable(self) -> Iterator["SavePoints"]:
        """While this lasts, a signal ends the training not at once, but at the next of the points it gives."""
        with noted_interruptions(self._keeping.max_hours) as asked:
            yield SavePoints(self.folder, self._snapshots, asked, self._lost)

    def finish(self, write: Callable[[Path], None]) -> None:
        """Put the checkpoint, which `write` makes beside the state, in its place; the folder is then no longer needed.

        The folder itself is removed when `unfinished` gives the lease back.
        """
        finished = self.folder / self._target.name
        write(finished)
        finished.replace(self._target)
        self.complete = True


class SavePoints:
    """The points of a training at which it may be saved and stopped.

    A training calls one of the two methods at each of them, with a function that gives the tensors to save, and in
    words how far these are, e.g. "step 5".
    """

    def __init__(self, folder: Path, snapshots: Snapshots, asked: Callable[[], int], lost: Callable[[], bool]) -> None:
        self._folder, self._snapshots, self._asked, self._lost = folder, snapshots, asked, lost

    def agreed(self, agree: Callable[[int], int]) -> "SavePoints":
        """The same points of a training in several processes, which agree on the exit code with which all of them end.

        Args:
            agree: Turns the exit code that this process was told, or 0, into the one for all; every process calls it
                at every point.
        """
        return SavePoints(self._folder, self._snapshots, lambda: agree(self._asked()), self._lost)

    def within_step(self, done: str, take: Callable[[], dict[str, Tensor]]) -> None:
        """End the training if it is told to, giving up the step under way; `take` gives the state before that step.

        Raises:
            Interrupted: Told to stop; the state is saved.
            StateError: Another process has taken the training over.
        """
        code = self._asked()
        if self._lost():
            raise StateError(f"{self._folder}: another process took this training over; this one stops.")
        if code:
            self._snapshots.save(take(), {})
            raise Interrupted(f"stopped after {done}, state saved.", code)

    def after_step(self, done: str, take: Callable[[], dict[str, Tensor]]) -> None:
        """Save the state if that is due, and end the training if it is told to, after a step.

        Raises:
            Interrupted: Told to stop; the state is saved.
            StateError: Another process has taken the training over.
        """
        self.within_step(done, take)
        if self._snapshots.due:
            self._snapshots.save(take(), {})


@contextmanager
def unfinished(target: Path, identity: dict[str, Any], keeping: Keeping, progress: Progress) -> Iterator[Unfinished]:
    """The folder for the state of this run, made now or left by an earlier part of it.

    Whatever interrupts the run, the message says which command goes on with it.

    Raises:
        Interrupted: The run was interrupted.
        RecipeError: It holds the state of another run.
        StateError: Another process works on it.
        OutputError: It cannot be written.
    """
    folder = _folder(target)
    with leased(Lease(folder / "lease.json")) as lost:
        remove_leftovers(folder)
        _claim(folder, identity, overwrite=keeping.overwrite)
        kept = Unfinished(target, identity["digest"], keeping, lost, progress)
        with telling_how_to_go_on(keeping.command):
            yield kept
    if kept.complete:
        remove_folder(folder, last=_IDENTITY)


def remove_rest(target: Path, digest: str) -> None:
    """Remove the folder that a kill has left beside the complete checkpoint of this very run."""
    folder = _folder(target)
    with suppress(OSError):
        if digest in (folder / _IDENTITY).read_text(encoding="utf-8"):
            remove_folder(folder, last=_IDENTITY)
    with suppress(OSError):
        folder.rmdir()  # empty, if a kill left it


def _folder(target: Path) -> Path:
    return target.with_name(f"{target.name}.training")


def refusal(what: str, before: dict[str, Any], identity: dict[str, Any]) -> RecipeError:
    """The error that something of another recipe is in the way, with what differs."""
    head, tail = f"{what}; nothing was changed. It differs in:", "Choose another file with --out, or add --overwrite."
    return RecipeError("\n".join([head, *shown_differences(before, identity, ("recipe", "inputs")), tail]))


def _claim(folder: Path, identity: dict[str, Any], *, overwrite: bool) -> None:
    claim = folder / _IDENTITY
    if claim.exists():
        try:
            before = json.loads(claim.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if before.get("digest") != identity["digest"] and not overwrite:
            raise refusal(f"{folder}: holds the unfinished training of another recipe", before, identity)
    if overwrite:
        for file in folder.glob("*.safetensors"):
            file.unlink()
    write_text(claim, json.dumps(identity, indent=2) + "\n")

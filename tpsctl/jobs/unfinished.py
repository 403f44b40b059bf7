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
from tpsctl.jobs.interruption import noted_interruptions
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
    """The folder of one training, while its lease is held."""

    def __init__(
        self, folder: Path, digest: str, keeping: Keeping, lost: Callable[[], bool], progress: Progress
    ) -> None:
        self.folder, self.keeping, self._lost = folder, keeping, lost
        self.done = False
        self.snapshots = Snapshots(folder, "training", digest, every_s=keeping.save_every_s, say=progress.say)

    def newest(self) -> dict[str, Tensor] | None:
        """The tensors to go on from; None at the beginning.

        Raises:
            RecipeError: There are none, and there should be.
        """
        found = self.snapshots.newest()
        if found is None and self.keeping.resume:
            raise RecipeError(f"--resume: {self.folder} has no state. Leave --resume out to begin anew.")
        return None if found is None else found[0]

    @contextmanager
    def stoppable(self) -> Iterator[Callable[..., None]]:
        """Gives a function to be called after every step: it saves when that is due, and ends the training when told.

        Its arguments: a function that gives the tensors, and what has been done, e.g. "step 5"; without a function,
        nothing can be saved yet.
        """
        with noted_interruptions(self.keeping.max_hours) as asked:

            def after(done: str, take: Callable[[], dict[str, Tensor]] | None = None) -> None:
                code = asked()
                if self._lost():
                    raise StateError(f"{self.folder}: another process took this training over; this one stops.")
                if take is not None and (code or self.snapshots.due):
                    self.snapshots.save(take(), {})
                if code:
                    state = "nothing to save yet" if take is None else "state saved"
                    raise Interrupted(f"stopped after {done}, {state}.\nGo on with: {self.keeping.command}", code)

            yield after

    def remove(self) -> None:
        """The checkpoint is there: the folder goes when its lease is given back."""
        self.done = True


@contextmanager
def unfinished(target: Path, identity: dict[str, Any], keeping: Keeping, progress: Progress) -> Iterator[Unfinished]:
    """The folder for the state of this run, made now or left by an earlier part of it.

    Raises:
        RecipeError: It holds the state of another run.
        StateError: Another process works on it.
        OutputError: It cannot be written.
    """
    folder = _folder(target)
    with leased(Lease(folder / "lease.json")) as lost:
        remove_leftovers(folder)
        _claim(folder, identity, overwrite=keeping.overwrite)
        kept = Unfinished(folder, identity["digest"], keeping, lost, progress)
        yield kept
    if kept.done:
        remove_folder(folder, last=_IDENTITY)


def remove_rest(target: Path, digest: str) -> None:
    """What a kill left behind the complete checkpoint of this very run."""
    folder = _folder(target)
    with suppress(OSError):
        if digest in (folder / _IDENTITY).read_text(encoding="utf-8"):
            remove_folder(folder, last=_IDENTITY)
    with suppress(OSError):
        folder.rmdir()  # empty, if a kill left it


def _folder(target: Path) -> Path:
    return target.with_name(f"{target.name}.training")


def refusal(what: str, before: dict[str, Any], identity: dict[str, Any]) -> RecipeError:
    """That something of another recipe is in the way, with what differs."""
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

"""The plan of a run: what is computed, in which batches, and which of them are done."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tpsctl.errors import Interrupted, OutputError, RecipeError, StateError, TpsctlError
from tpsctl.files import remove_folder, write_text
from tpsctl.jobs.directory import earlier_result
from tpsctl.jobs.lease import holder
from tpsctl.jobs.shard import WHOLE, Shard
from tpsctl.output.manifest import read_manifest, shown_differences

FOLDER = "state"
_NAME = "plan.json"
_REMOVALS = 3


class TooManyShardsError(RecipeError):
    """More shards than can share the work of a run.

    Attributes:
        most: The largest number of shards.
    """

    def __init__(self, message: str, most: int) -> None:
        super().__init__(message)
        self.most = most


@dataclass(frozen=True)
class Plan:
    """What one run computes, whether it is complete or not.

    Attributes:
        directory: The run directory.
        identity: Digest, resolved recipe and input hashes.
        paths: Number of paths.
        batch_paths: Paths per batch; the last batch may have fewer.
        replaces: Whether an earlier result lies in the directory until this one is complete.
        origin: Words of a command line that runs this recipe again, without the command itself.
        together: Whether there is one batch, on which all shards work together (`jobs.rounds`); `paths` is then the
            number of attempts in a round, and `batch_paths` the number of attempts in a block.
        subcommand: The command of tpsctl that does this job.
    """

    directory: Path
    identity: dict[str, Any]
    paths: int
    batch_paths: int
    replaces: bool
    origin: tuple[str, ...]
    together: bool = False
    subcommand: str = "sample"

    @property
    def digest(self) -> str:
        return self.identity["digest"]

    @property
    def folder(self) -> Path:
        return self.directory / FOLDER

    @property
    def result(self) -> dict[str, Any] | None:
        """The manifest, if the result is in the directory and only the state is left to remove."""
        return None if self.replaces else read_manifest(self.directory)

    @property
    def batches(self) -> int:
        return 1 if self.together else self.shares

    @property
    def shares(self) -> int:
        """Most processes that can share the work."""
        return -(-self.paths // self.batch_paths)

    def numbers(self, batch: int) -> range:
        """The paths of a batch."""
        if self.together:
            return range(self.paths)
        return range(batch * self.batch_paths, min((batch + 1) * self.batch_paths, self.paths))

    def batches_of(self, shard: Shard) -> list[int]:
        """The batches of a shard.

        Raises:
            TooManyShardsError: There are more shards than can share the work.
        """
        if shard.of > self.shares:
            what = "attempts in blocks" if self.together else "paths in batches"
            each = "blocks" if self.together else "batches"
            raise TooManyShardsError(
                f"--shard {shard}: {self.paths} {what} of {self.batch_paths} make {self.shares} {each}, "
                f"so at most {self.shares} shards. Use fewer, or a smaller path.batch_paths.",
                self.shares,
            )
        if self.together:
            return list(range(self.batches))
        return [batch for batch in range(self.batches) if shard.owns(batch)]

    def batch_file(self, batch: int) -> Path:
        return self.folder / "batches" / f"batch_{batch:05d}.safetensors"

    def shard_folder(self, shard: Shard) -> Path:
        return self.folder / "shards" / shard.folder

    def command(self, shard: Shard = WHOLE) -> str:
        """The command that goes on with this shard."""
        part = () if shard == WHOLE else ("--shard", str(shard))
        return shlex.join(("tpsctl", self.subcommand, *self.origin, *part))

    def write(self) -> None:
        values = asdict(self) | {"directory": str(self.directory)}
        write_text(self.folder / _NAME, json.dumps(values, indent=2) + "\n")

    def finish(self) -> None:
        """Remove the state of a run whose result is in the directory; after a kill, the next start does this again."""
        if self.replaces:
            replace(self, replaces=False).write()  # the result is no longer an earlier one
        self.remove()

    def remove(self) -> None:
        """Remove the state.

        Raises:
            OutputError: A file of it cannot be removed.
        """
        for _ in range(_REMOVALS):  # a shard that just ends may still write its status
            remove_folder(self.folder, last=_NAME)
        if self.folder.exists():
            raise OutputError(f"{self.folder}: cannot be removed. The result beside it is complete; remove it by hand.")


def read_plan(directory: Path) -> Plan | None:
    """The plan of the unfinished run in a directory; None if there is none.

    Raises:
        StateError: It is damaged.
    """
    file = directory / FOLDER / _NAME
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return Plan(**(values | {"directory": directory, "origin": tuple(values["origin"])}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StateError(f"{file}: cannot be read ({error}). Start anew with --overwrite.") from None


def open_plan(wanted: Plan, *, overwrite: bool, resume: bool, shard: Shard = WHOLE) -> Plan | dict[str, Any]:
    """Find the plan to continue, or write a new one; or return the manifest, if everything is done already.

    Args:
        wanted: The plan of a new run.
        overwrite: Begin anew, whatever is there.
        resume: Refuse to begin anew.
        shard: The part that is wanted; a new plan is written only if it has this part.

    Raises:
        RecipeError: The directory belongs to another recipe, or to no run; there is nothing to resume; or there are
            more shards than batches.
    """
    found = None if overwrite else _found(wanted)
    if found is not None:
        return found
    earlier = earlier_result(wanted.directory, wanted.digest, wanted.identity, overwrite=overwrite)
    if earlier is not None:
        with suppress(OSError):
            wanted.folder.rmdir()  # empty, if a kill left it
        return earlier
    if resume:
        raise RecipeError(f"--resume: {wanted.directory} has no unfinished run. Leave --resume out to begin one.")
    wanted.batches_of(shard)
    if overwrite:
        require_idle(wanted)
        wanted.remove()
    wanted.write()
    return _found(wanted) or wanted


def _found(wanted: Plan) -> Plan | dict[str, Any] | None:
    """The unfinished run of this recipe in the directory, or its manifest where only its state is left to remove."""
    found = read_plan(wanted.directory)
    if found is None:
        return None
    _require_same(found, wanted)
    result = found.result
    if result is None:
        return found
    found.finish()
    return result


@contextmanager
def leaving_nothing(plan: Plan) -> Iterator[None]:
    """Remove the state of a new plan again if its work is refused before anything of it was kept.

    Then the next call, with the recipe mended, finds the directory free. What a process saved stays, and so does the
    log of one that ended with a traceback, and everything after an interruption.
    """
    try:
        yield
    except Interrupted:
        raise
    except TpsctlError:
        if not (any(plan.folder.rglob("*.safetensors")) or _has_traceback(plan.folder)):
            plan.remove()
            with suppress(OSError):  # an earlier result may lie there
                plan.directory.rmdir()
        raise


def _has_traceback(folder: Path) -> bool:
    logs = (file.read_text(encoding="utf-8", errors="replace") for file in folder.rglob("log.txt"))
    return any("Traceback (most recent call last)" in text for text in logs)


def require_idle(plan: Plan, shard: Shard | None = None) -> None:
    """Refuse to work on a run while another process does, unless that works on another shard of the same N.

    Raises:
        StateError: Naming the process.
    """
    for file in sorted((plan.folder / "shards").glob("*/lease.json")):
        beside = shard is not None and file.parent.name.endswith(f"_of_{shard.of:04d}")
        if not beside and (other := holder(file)):
            raise StateError(f"{plan.directory}: {other} works on it (shard {_words(file)}). Wait for it, or end it.")


def _words(lease: Path) -> str:
    return "/".join(str(int(part)) for part in lease.parent.name.split("_of_"))


def _require_same(found: Plan, wanted: Plan) -> None:
    if found.digest == wanted.digest:
        return
    listed = shown_differences(found.identity, wanted.identity, ("recipe", "inputs"))
    head = f"{wanted.directory}: holds the unfinished run of another recipe; nothing was changed. It differs in:"
    tail = "Choose another directory with --out, or begin anew with --overwrite."
    raise RecipeError("\n".join([head, *listed, tail]))

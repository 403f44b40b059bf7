"""A job in batches: each goes on from what its last attempt saved, is kept when it is done, and is computed once.

What a batch is made of, and what the result of all of them is, a `BatchedJob` says; it knows nothing of plans, leases,
shards and kills, and the result does not depend on them.
"""

import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.errors import OutputError, RecipeError, StateError
from tpsctl.jobs.directory import publish
from tpsctl.jobs.keeper import ShardKeeper, keeping
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.plan import Plan, read_plan
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.snapshots import remove_leftovers
from tpsctl.jobs.store import read_state, write_state
from tpsctl.output.manifest import read_manifest, write_manifest
from tpsctl.progress import Progress

StoredBatch = tuple[dict[str, Tensor], dict[str, Any]]
"""A finished batch as plain tensors and JSON facts."""

_SHOWN = 10


class BatchedJob(ABC):
    """What a batch is made of, and what is written of all batches."""

    @abstractmethod
    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Compute the items of one batch, from what the keeper says an earlier attempt saved."""

    @abstractmethod
    def is_good(self, batch: StoredBatch) -> bool:
        """Whether every item of the batch converged and is valid."""

    @abstractmethod
    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write the result into a new folder, and return its manifest without the identity of the run."""

    def present(self, folder: Path) -> None:  # noqa: B027 (most jobs have nothing to present)
        """Write what is made from the finished result for readers, such as a report, beside its manifest."""


def compute_batches(job: BatchedJob, plan: Plan, keeper: ShardKeeper, progress: Progress) -> dict[str, Any]:
    """Compute all batches of a shard that are not there yet, and return what the shard has done.

    Raises:
        Interrupted: The job was told to stop; what it had done is saved.
        StateError: Another process works on this shard.
    """
    good = True
    with keeping(keeper):
        for number in plan.batches_of(keeper.shard):
            stored = read_batch(plan, number)
            if stored is None:
                progress.say(_announced(plan, number))
                keeper.begin(number)
                stored = job.compute(plan.numbers(number), keeper)
                tensors, facts = stored
                if not plan.together or read_batch(plan, number) is None:  # another shard may have written the same
                    write_state(plan.batch_file(number), tensors, facts | {"digest": plan.digest})
            keeper.finish(number)
            good = good and job.is_good(stored)
        keeper.complete(good=good)
    return keeper.summary()


def gather_batches(
    directory: Path, job_of: Callable[[Plan], BatchedJob], progress: Progress, *, scratch: Path | None = None
) -> dict[str, Any]:
    """Make the result of all batches of a run, and return its manifest.

    This may be started again at any time: what is complete stays, what a kill left half done is made anew, and the
    state is removed only after every file was compared with what was assembled.

    Args:
        directory: The run directory.
        job_of: Gives the job of a plan, which writes the result.
        progress: Told what is done.
        scratch: Folder on a fast local disk where files are assembled first.

    Raises:
        RecipeError: There is no run in the directory.
        OutputError: Batches are missing, with the commands that make them; or a file cannot be written.
    """
    plan = read_plan(directory)
    if plan is None:
        return _there_already(directory, progress)
    with leased(Lease(plan.folder / "gather.json")):
        found = read_plan(directory)  # again: another process may just have been faster
        if found is None or found.result is not None:
            manifest = _there_already(directory, progress)
        else:
            remove_leftovers(plan.folder)
            manifest = _assemble(plan, read_batches(plan, progress), job_of(plan), progress, scratch)
        plan.finish()
    return manifest


def read_batch(plan: Plan, batch: int) -> StoredBatch | None:
    """Read a finished batch; None if it is not there, is damaged, or belongs to another run."""
    try:
        tensors, facts = read_state(plan.batch_file(batch))
    except StateError:
        return None
    return (tensors, facts) if facts["digest"] == plan.digest else None


def read_batches(plan: Plan, progress: Progress) -> list[StoredBatch]:
    """Read all batches of a run.

    Raises:
        OutputError: Some are missing or damaged; it says which, and how to make them.
    """
    found = {batch: read_batch(plan, batch) for batch in range(plan.batches)}
    missing = [batch for batch, content in found.items() if content is None]
    if missing:
        raise OutputError("\n".join(_what_is_missing(plan, missing)))
    if not plan.together:
        progress.say(f"{plan.batches} batches, {plan.paths} paths")
    return [content for content in found.values() if content is not None]


def _assemble(
    plan: Plan, batches: Sequence[StoredBatch], job: BatchedJob, progress: Progress, scratch: Path | None
) -> dict[str, Any]:
    """Write the result beside its place, move it there, and compare."""
    assembled = plan.folder / "result"
    folder = (scratch or plan.folder) / "result"
    for old in {assembled, folder}:
        shutil.rmtree(old, ignore_errors=True)
    progress.say(f"writing {plan.directory} ...")
    manifest = plan.identity | job.write(folder, batches) | {"directory": str(plan.directory)}
    write_manifest(folder, manifest)
    job.present(folder)
    if folder != assembled:
        _copy(folder, assembled)
    publish(assembled, plan.directory)
    return manifest


def _copy(folder: Path, target: Path) -> None:
    """Copy a result from the scratch folder to the file system of the run directory."""
    try:
        shutil.copytree(folder, target)
    except (OSError, shutil.Error) as error:
        raise OutputError(f"{target}: cannot be written ({error}).") from None
    shutil.rmtree(folder, ignore_errors=True)


def _there_already(directory: Path, progress: Progress) -> dict[str, Any]:
    manifest = read_manifest(directory) if directory.is_dir() else None
    if manifest is None:
        raise RecipeError(f"{directory}: no run is here, complete or not. Begin one with `tpsctl sample`.")
    progress.say(f"{directory}: complete already; nothing to gather.")
    return manifest | {"directory": str(directory)}


def _what_is_missing(plan: Plan, missing: list[int]) -> list[str]:
    """A message that says which batches are missing, and gives the commands that make them."""
    named = ", ".join(
        f"{batch} (paths {plan.numbers(batch)[0]}-{plan.numbers(batch)[-1]})" for batch in missing[:_SHOWN]
    )
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    shards = dict.fromkeys(Shard(batch % of + 1, of) for of in [_shards(plan)] for batch in missing)
    commands = [f"  {plan.command(shard)}" for shard in list(shards)[:_SHOWN]]
    if len(shards) > _SHOWN:
        commands.append(f"  and {len(shards) - _SHOWN} more shards")
    return [
        f"{plan.directory}: {len(missing)} of {plan.batches} batches are not there: {named}{more}.",
        "Make them, then gather again:",
        *commands,
    ]


def _shards(plan: Plan) -> int:
    """Into how many shards the run was divided: the number that most of their folders bear."""
    counts = Counter(int(folder.name.rpartition("_")[2]) for folder in (plan.folder / "shards").glob("*_of_*"))
    return counts.most_common(1)[0][0] if counts else 1


def _announced(plan: Plan, batch: int) -> str:
    if plan.together:
        return f"rounds of {plan.paths} attempts each"
    return f"batch {batch + 1} of {plan.batches}: {_words(plan.numbers(batch))}"


def _words(numbers: range) -> str:
    return f"paths {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"path {numbers[0]}"

"""One stage of a round: a job of another command, which any number of processes share and which is done once.

A stage is done if the manifest of its folder is there. Every process calls the same stages in the same order. In each
it does its part; the first process then makes the result, and the others wait for it. A process that is started again
finds the finished stages done, and goes on with the one that is not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tpsctl.errors import ExitCode, Interrupted, StateError
from tpsctl.jobs.batches import read_batch
from tpsctl.jobs.interruption import noted_interruptions
from tpsctl.jobs.lease import holder
from tpsctl.jobs.plan import TooManyShardsError, read_plan
from tpsctl.jobs.shard import WHOLE, Shard
from tpsctl.output.manifest import read_manifest
from tpsctl.progress import Progress

_LOOK_EVERY_S = 0.2

Job = Callable[[Shard | None], dict[str, Any]]
"""Does a part of a stage, or all of it and its result."""


def do_stage(job: Job, folder: Path, shard: Shard | None, progress: Progress) -> dict[str, Any]:
    """Do a stage, or wait until all processes together have done it; its manifest.

    Raises:
        Interrupted: The job was told to stop; what it had done is kept.
    """
    if shard is None:
        return job(None)
    _when_free(lambda: _part(job, shard), lambda: _at_work(folder, [WHOLE]), folder, progress)
    if shard.number == 1:
        _wait(lambda: _all_batches(folder), folder, progress)
        return _when_free(lambda: job(None), lambda: _at_work(folder), folder, progress)
    _wait(lambda: read_manifest(folder) is not None, folder, progress)
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def _part(job: Job, shard: Shard) -> dict[str, Any]:
    """Do the part of a shard, of which there may be more than can share this stage."""
    try:
        return job(shard)
    except TooManyShardsError as error:
        return job(replace(shard, of=error.most)) if shard.number <= error.most else {}


def _when_free(
    work: Callable[[], dict[str, Any]], occupied: Callable[[], bool], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Do what another process may be in the way of, as soon as it is not.

    Raises:
        StateError: It cannot be done for another reason.
    """
    while True:
        _wait(lambda: not occupied(), folder, progress)
        try:
            return work()
        except StateError:  # a process that was not there when we looked has begun in the meantime
            if not occupied() and read_manifest(folder) is None:
                raise


def _at_work(folder: Path, shards: Sequence[Shard] = ()) -> bool:
    """Whether another process works on one of these shards of a stage, or on any of them."""
    plan = read_plan(folder)
    if plan is None:
        return False
    everywhere = sorted((plan.folder / "shards").glob("*/lease.json"))
    files = [plan.shard_folder(shard) / "lease.json" for shard in shards] or everywhere
    return any(holder(file) for file in files)


def _all_batches(folder: Path) -> bool:
    plan = read_plan(folder)
    return plan is None or all(read_batch(plan, number) is not None for number in range(plan.batches))


def _wait(done: Callable[[], bool], folder: Path, progress: Progress) -> None:
    """Wait for other processes.

    Raises:
        Interrupted: This process was told to stop.
    """
    if done():
        return
    progress.say(f"{folder}: waiting for the other shards")
    with noted_interruptions() as asked:
        while not done():
            if code := asked():
                raise Interrupted(f"{folder}: stopped while it waited for the other shards.", ExitCode(code))
            time.sleep(_LOOK_EVERY_S)

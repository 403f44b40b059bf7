"""Work in synchronized rounds that any number of processes share, and that a kill cannot lose.

A round consists of blocks that do not depend on one another. Every process goes through the same rounds: it plans the
round, does the blocks that no other process has done or is doing, waits until all of them are there, and merges their
results in order. What the next round is depends on the merged results only, so all processes plan the same, and the
result is the same for any number of them. Each finished block is a file; a process that starts later, or again after a
kill, reads the files of all earlier rounds and goes on from there.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tpsctl.errors import StateError
from tpsctl.jobs.batches import StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.jobs.lease import Lease, holder, leased
from tpsctl.jobs.store import read_state, write_state
from tpsctl.progress import Progress

_LOOK_EVERY_S = 0.1
"""Time between two looks for the results of other processes."""


class Rounds(ABC):
    """Says what each round consists of, and learns from its results.

    Attributes:
        most: Most rounds, for the display of progress; 0 if that is unknown.
    """

    most: int

    @abstractmethod
    def plan(self) -> int:
        """Plan the next round, and return the number of its blocks; 0 if there is no further round."""

    @abstractmethod
    def run(self, block: int) -> StoredBatch:
        """Do one block of the planned round."""

    @abstractmethod
    def merge(self, results: Sequence[StoredBatch]) -> str:
        """Learn from the results of all blocks of the round, in order; what is known now, in words."""


def do_rounds(rounds: Rounds, keeper: ShardKeeper, progress: Progress) -> None:
    """Do all rounds that are left, together with other processes that do the same.

    Raises:
        Interrupted: The job was told to stop; the finished blocks are kept.
        StateError: Another process has taken the shard over.
    """
    number = 0
    with keeper.stoppable() as stop_if_asked, progress.task("rounds", rounds.most) as update:
        while count := rounds.plan():
            files = [_file(keeper, number, block) for block in range(count)]
            results: list[StoredBatch | None] = [_result(keeper, file) for file in files]
            while None in results:
                stop_if_asked()
                if not _do_one(rounds, keeper, files, results):
                    time.sleep(_LOOK_EVERY_S)
                    results = [found or _result(keeper, file) for found, file in zip(results, files, strict=True)]
            number += 1
            words = rounds.merge([result for result in results if result is not None])
            keeper.enter(stage=words, step=number)
            update(number, words)


def _do_one(rounds: Rounds, keeper: ShardKeeper, files: Sequence[Path], results: list[StoredBatch | None]) -> bool:
    """Do one missing block that no other process is doing; False if there is none."""
    missing = [k for k, found in enumerate(results) if found is None]
    for block in sorted(missing, key=lambda k: (k - keeper.shard.number + 1) % len(files)):
        lease = files[block].with_suffix(".lease.json")
        if holder(lease):
            continue
        try:
            with leased(Lease(lease)):
                results[block] = _result(keeper, files[block])  # another process may just have finished it
                if results[block] is None:
                    tensors, facts = rounds.run(block)
                    write_state(files[block], tensors, facts | {"digest": keeper.plan.digest})
                    results[block] = _result(keeper, files[block])
        except StateError:
            continue  # another process was faster to take it
        return True
    return False


def _file(keeper: ShardKeeper, number: int, block: int) -> Path:
    return keeper.plan.folder / "rounds" / f"round_{number:04d}_block_{block:02d}.safetensors"


def _result(keeper: ShardKeeper, file: Path) -> StoredBatch | None:
    """The result in a file; None if it is not there, is damaged, or belongs to another run."""
    if not file.exists():
        return None
    try:
        tensors, facts = read_state(file)
    except StateError:
        return None
    return (tensors, facts) if facts.get("digest") == keeper.plan.digest else None

"""A batch that does not fit into memory is computed in two halves, and a half that does not fit in two halves of it.

The size of a batch is planned from the free memory of the GPUs, and other programs may have taken some since. Which
paths are computed together changes no path but for the rounding of a GPU. A finished half is kept until the batch is
complete, so an interruption costs as little as anywhere.
"""

from collections.abc import Callable

import torch

from tpsctl.action.memory import free_memory
from tpsctl.errors import MemoryShortageError
from tpsctl.jobs.batches import StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.jobs.snapshots import PARTS
from tpsctl.progress import Progress
from tpsctl.workflows.sample.batch import PathBatch

_FINISHED = "finished"


def compute_in_parts(
    compute: Callable[[range, ShardKeeper], StoredBatch],
    numbers: range,
    keeper: ShardKeeper,
    *,
    device: torch.device,
    fits: Callable[[int], bool],
    progress: Progress,
) -> StoredBatch:
    """Compute the paths of these numbers, all at once if they fit into memory.

    Args:
        compute: Computes some of them.
        numbers: The paths.
        keeper: Has what an earlier attempt saved, at the whole or at its parts.
        device: Where they are computed.
        fits: Whether so many paths are expected to fit.
        progress: Told about a batch that is divided.

    Raises:
        MemoryShortageError: Not even one path fits.
    """
    saved = keeper.newest()
    if saved is not None and _FINISHED in saved[1]:
        return saved[0], saved[1][_FINISHED]
    reason = _reason_to_divide(numbers, keeper, fits)
    if reason is None:
        try:
            return compute(numbers, keeper)
        except MemoryShortageError as error:
            if len(numbers) == 1:
                raise
            reason = str(error)
        keeper.snapshots.clear()
        free_memory(device)
    progress.say(f"{len(numbers)} paths are computed in two halves: {reason}")
    middle, halves = (len(numbers) + 1) // 2, []
    for letter, half in zip(PARTS, (numbers[:middle], numbers[middle:]), strict=True):
        with keeper.part(letter):
            stored = compute_in_parts(compute, half, keeper, device=device, fits=fits, progress=progress)
            keeper.save(stored[0], {_FINISHED: stored[1]})
            halves.append(PathBatch.from_stored(*stored))
    return PathBatch.joined(halves).store()


def _reason_to_divide(numbers: range, keeper: ShardKeeper, fits: Callable[[int], bool]) -> str | None:
    """Why these paths are not even tried at once; None if they are."""
    with keeper.part(PARTS[0]):
        if keeper.newest() is not None:
            return "an earlier attempt divided them."
    if len(numbers) > 1 and keeper.newest() is None and not fits(len(numbers)):
        return "the free memory of the GPU does not suffice for all of them."
    return None

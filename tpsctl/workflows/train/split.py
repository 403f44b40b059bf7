"""Which frames are held out: those of whole trajectories, or of blocks of every trajectory."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.recipe import train as sections


def held_out_frames(
    trajectories: Int[Tensor, " frame"], split: sections.SplitSection, held_out: int, seed: int
) -> Bool[Tensor, " frame"]:
    """A mask of the frames that are held out.

    Args:
        trajectories: Number of the trajectory of every frame; frames of one trajectory are in order of time.
        split: What is held out together.
        held_out: How many of these are held out, of each trajectory if they are blocks.
        seed: Seed of the choice.

    Raises:
        DataError: Nothing would be left to learn from, or a trajectory is shorter than its number of blocks.
    """
    numbers, generator = trajectories.unique(), torch.Generator().manual_seed(seed)
    if isinstance(split, sections.TrajectorySplitSection):
        if held_out >= len(numbers):
            raise DataError(
                f"data.held_out: cannot hold out {held_out} of {len(numbers)} trajectories; give more trajectories, "
                "hold out fewer (at least 1 must stay to learn from), or use data.split: {kind: block}."
            )
        order = torch.randperm(len(numbers), generator=generator)
        return torch.isin(trajectories, numbers[order[:held_out]])
    if held_out >= split.blocks:
        raise DataError(f"data.held_out: cannot hold out {held_out} of {split.blocks} blocks; at least 1 must stay.")
    mask = torch.zeros(len(trajectories), dtype=torch.bool)
    for number in numbers.tolist():
        frames = torch.nonzero(trajectories == number).squeeze(1)
        if len(frames) < split.blocks:
            raise DataError(
                f"data.split.blocks: trajectory {number} has {len(frames)} frames, too few for {split.blocks} blocks."
            )
        order = torch.randperm(split.blocks, generator=generator)[:held_out]
        block = torch.arange(len(frames)) * split.blocks // len(frames)
        mask[frames[torch.isin(block, order)]] = True
    return mask

"""Held-out frames: whole trajectories, or blocks of every trajectory."""

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.recipe.train import BlockSplitSection, TrajectorySplitSection
from tpsctl.workflows.train.split import held_out_frames

BY_TRAJECTORY = TrajectorySplitSection(kind="trajectory")
NUMBERS = torch.tensor([0] * 40 + [1] * 23 + [2] * 30)


def test_whole_trajectories_are_held_out():
    mask = held_out_frames(NUMBERS, BY_TRAJECTORY, 1, seed=0)
    (chosen,) = NUMBERS[mask].unique().tolist()
    assert torch.equal(mask, chosen == NUMBERS)


@pytest.mark.parametrize(("blocks", "held_out"), [(10, 2), (4, 1), (7, 6)])
def test_blocks_are_of_equal_length_and_their_frames_stay_together(blocks, held_out):
    mask = held_out_frames(NUMBERS, BlockSplitSection(kind="block", blocks=blocks), held_out, seed=1)
    for number in range(3):
        part = mask[number == NUMBERS]
        exact = len(part) * held_out / blocks
        assert abs(int(part.sum()) - exact) < held_out, "blocks differ by one frame at most"
        assert int((part.int().diff().abs() == 1).sum()) <= 2 * held_out


def test_another_seed_chooses_other_blocks_and_one_trajectory_suffices():
    one = torch.zeros(100, dtype=torch.long)
    split = BlockSplitSection(kind="block", blocks=10)
    masks = [held_out_frames(one, split, 1, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(masks[0], masks[1])
    assert len({tuple(mask.tolist()) for mask in masks}) > 1


@pytest.mark.parametrize(
    ("split", "held_out", "message"),
    [
        (BY_TRAJECTORY, 3, "cannot hold out 3 of 3 trajectories"),
        (BlockSplitSection(kind="block", blocks=4), 4, "cannot hold out 4 of 4 blocks"),
        (BlockSplitSection(kind="block", blocks=24), 1, "trajectory 1 has 23 frames, too few for 24 blocks"),
    ],
)
def test_too_few_are_refused(split, held_out, message):
    with pytest.raises(DataError, match=message):
        held_out_frames(NUMBERS, split, held_out, seed=0)

"""Channels: clusters on a torus, ordered by barrier."""

import torch

from tpsctl.validation.channels import find_channels


def channels(degrees, barriers):
    return find_channels(torch.tensor(degrees, dtype=torch.float64).deg2rad(), torch.tensor(barriers))


def test_saddles_of_alanine_dipeptide_are_three_channels():
    tops = [[132.0, -41.0], [-2.0, -26.0], [5.0, -20.0], [121.0, 177.0]]
    assert channels(tops, [65.9, 36.4, 36.9, 63.8]) == [2, 0, 0, 1]


def test_angles_are_periodic():
    assert channels([[179.0, 0.0], [-179.0, 0.0]], [1.0, 2.0]) == [0, 0]


def test_a_chain_of_neighbors_is_one_channel():
    assert channels([[40.0 * i, 0.0] for i in range(5)], [1.0] * 5) == [0] * 5


def test_unknown_barriers_come_last():
    assert channels([[0.0, 0.0], [120.0, 0.0]], [float("nan"), 5.0]) == [1, 0]


def test_one_path_is_one_channel():
    assert channels([[0.0, 0.0]], [1.0]) == [0]

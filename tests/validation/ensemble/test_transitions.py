"""Transition paths: what counts as a crossing, and what does not."""

import pytest
import torch

from tpsctl.validation.ensemble.transitions import Transition, find_transitions


def found(values, numbers=None):
    q = torch.tensor(values)
    return find_transitions(q, torch.tensor(numbers or [0] * len(values)), low=0.2, high=0.8)


def test_a_path_goes_from_the_last_frame_of_one_state_to_the_first_of_the_other():
    assert found([0.1, 0.1, 0.4, 0.6, 0.9, 0.95]) == [Transition(1, 4, forward=True)]
    assert found([0.9, 0.5, 0.1]) == [Transition(0, 2, forward=False)]


def test_an_excursion_that_returns_is_no_path():
    assert found([0.1, 0.6, 0.7, 0.1, 0.5, 0.1]) == []
    assert found([0.1, 0.6, 0.1, 0.5, 0.9]) == [Transition(2, 4, forward=True)]


def test_fluctuations_about_a_threshold_count_once():
    assert len(found([0.1, 0.3, 0.1, 0.3, 0.9, 0.7, 0.9, 0.7, 0.1])) == 2


def test_a_jump_within_one_frame_is_a_path_of_two_frames():
    assert found([0.0, 1.0]) == [Transition(0, 1, forward=True)]


def test_no_path_crosses_from_one_trajectory_to_the_next():
    assert found([0.1, 0.5, 0.9, 0.5, 0.1, 0.5], [0, 0, 1, 1, 1, 2]) == [Transition(2, 4, forward=False)]
    assert found([0.5, 0.9], [0, 0]) == []


def test_frames_of_a_path_are_given_from_low_to_high():
    assert Transition(3, 6, forward=True).frames().tolist() == [3, 4, 5, 6]
    assert Transition(3, 6, forward=False).frames().tolist() == [6, 5, 4, 3]


def test_states_that_overlap_are_refused():
    with pytest.raises(ValueError, match=r"low: got 0\.5, expected a value below high \(0\.5\)"):
        find_transitions(torch.zeros(2), torch.zeros(2, dtype=torch.long), low=0.5, high=0.5)


def test_a_random_walk_crosses_as_often_as_the_gambler_must():
    """A symmetric walk on 0 ... 10 with reflecting ends: a crossing of all 10 steps takes 110 steps on average.

    From one reflecting end the mean time to the other is n(n+1) steps for a walk that stays at the wall half the time.
    """
    steps = torch.randint(0, 2, (400_000,), generator=torch.Generator().manual_seed(1)).mul(2).sub(1).tolist()
    place, places = 0, []
    for step in steps:
        place = min(10, max(0, place + step))
        places.append(place)
    q = torch.tensor(places) / 10
    count = len(find_transitions(q, torch.zeros(len(q), dtype=torch.long), low=0.05, high=0.95))
    # about 3600 crossings, each with a relative standard deviation of 0.8: the mean is known to 1.4 %
    assert len(q) / count == pytest.approx(110, rel=0.05)

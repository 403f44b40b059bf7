"""Two-way shooting against a chain whose transition paths are known, and tubes with known axes."""

import math

import numpy as np
import pytest
import torch

from tpsctl.errors import TpsctlError
from tpsctl.simulation.shooting.dynamics import Flight, Propagator, arrival_of
from tpsctl.simulation.shooting.states import PointWithin, TwoStates
from tpsctl.simulation.shooting.tube import Tube, last_passages
from tpsctl.simulation.shooting.two_way import TrialOutcome, TwoWay

LAST = 5


class Walk(Propagator):
    """A symmetric random walk on the whole numbers; frames are 1 ps apart."""

    frame_ps = 1.0

    def fly(self, x, seeds, states, longest_ps, *, keep=False):
        flights = []
        for one, seed in zip(x, seeds, strict=True):
            random, frames = np.random.default_rng(seed.noise), [one]
            while not states.where(frames[-1][None])[0] and len(frames) <= longest_ps:
                frames.append(frames[-1] + (1.0 if random.random() < 0.5 else -1.0))
            where = states.where(frames[-1][None])[0]
            flights.append(Flight(arrival_of(where), len(frames) - 1.0, torch.stack(frames)))
        return flights


def walk(longest_ps=1000.0):
    ends = [[PointWithin(torch.full((1, 1), float(x)), 0.5)] for x in (0, LAST)]
    return TwoWay(Walk(), TwoStates(*ends), longest_ps)


def exact_mean_length():
    """Mean number of steps from 0 to LAST of a walk that does not return to 0, by the fundamental matrix.

    Conditioned on B (Doob's transform with h(x) = x / LAST), the walk starts at 1.
    """
    inner = range(1, LAST)
    moves = np.array([[(abs(i - j) == 1) * 0.5 * j / i for j in inner] for i in inner])
    return 1 + np.linalg.solve(np.eye(LAST - 1) - moves, np.ones(LAST - 1))[0]


def test_lengths_of_paths_are_those_of_the_conditioned_walk():
    """Within 4 standard errors of 2000 trials, 0.5 steps, with correlations of about five trials.

    The exact length is 1 + (LAST^2 - 1) / 3 = 9.
    """
    assert exact_mean_length() == pytest.approx(9.0, abs=1e-12)
    two_way = walk()
    path, lengths = two_way.first_path(torch.full((1, 1), 2.0), (1, 0)), []
    for number in range(2000):
        path, _ = two_way.trial(path, (1, 0), number)
        lengths.append(len(path) - 1)
    assert np.mean(lengths) == pytest.approx(exact_mean_length(), abs=0.5)


def test_paths_go_from_a_to_b_and_a_rejected_trial_leaves_the_path():
    two_way = walk()
    path, seen = two_way.first_path(torch.full((1, 1), 2.0), (1, 1)), set()
    for number in range(200):
        after, outcome = two_way.trial(path, (1, 1), number)
        where = two_way.states.where(after)
        assert (where[0], where[-1]) == (1, 2)
        assert where[1:-1].eq(0).all()
        assert (after is path) == (outcome is not TrialOutcome.ACCEPTED)
        path = after
        seen.add(outcome)
    assert seen >= {TrialOutcome.ACCEPTED, TrialOutcome.SAME_STATE, TrialOutcome.TOO_LONG}


def test_a_trial_depends_on_its_words_and_number_only():
    two_way = walk()
    path = two_way.first_path(torch.full((1, 1), 2.0), (1, 2))
    first = two_way.trial(path, (1, 2), 7)
    two_way.trial(path, (1, 2), 8)
    again = two_way.trial(path, (1, 2), 7)
    assert torch.equal(first[0], again[0])
    assert first[1] is again[1]


def test_trials_over_the_longest_time_are_named():
    two_way = walk(longest_ps=4.0)
    path = torch.arange(0.0, LAST + 1).view(-1, 1, 1)
    outcomes = [two_way.trial(path, (1, 3), number)[1] for number in range(300)]
    assert TrialOutcome.OVER_TIME in outcomes


def test_a_start_that_never_joins_the_states_is_refused_with_a_remedy():
    with pytest.raises(TpsctlError, match="committor near 1/2"):
        walk(longest_ps=1.0).first_path(torch.full((1, 1), 2.0), (1, 4))


ENDS = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)


def bundle(spread, count=400):
    """Lines from x = 0 to 1 that are shifted by normal numbers in y, and the deviation of these."""
    shift = torch.randn(count, generator=torch.Generator().manual_seed(1)) * spread
    x = torch.linspace(0, 1, 101)
    return [torch.stack((x, torch.full_like(x, float(s))), 1) for s in shift - shift.mean()], shift.std(correction=0)


def test_axis_and_spread_of_parallel_lines_are_their_mean_and_deviation():
    """To 2 per cent: the levels of progress are circles, which the lines meet at slightly different x."""
    paths, spread = bundle(0.01)
    tube = Tube.around(paths, [1.0] * len(paths), ENDS)
    assert tube.axis[:, 1].abs().max() < 0.02 * spread
    inner = slice(3, -3)
    assert tube.spread[inner].numpy() == pytest.approx(float(spread), rel=0.02)
    assert tube.axis[inner, 0].numpy() == pytest.approx(tube.levels[inner].numpy(), abs=1e-3)


def test_distance_of_a_shifted_line_is_the_shift_in_units_of_the_spread():
    paths, spread = bundle(0.01)
    tube = Tube.around(paths, [1.0] * len(paths), ENDS)
    line = torch.stack((torch.linspace(0, 1, 101), torch.full((101,), 0.03)), 1)
    assert tube.distances(line)[3:-3].numpy() == pytest.approx(0.03 / float(spread), rel=0.03)


def test_the_paths_themselves_have_a_root_mean_square_distance_of_one():
    paths, _ = bundle(0.05, count=50)
    weights = [1.0 + k % 3 for k in range(50)]
    tube = Tube.around(paths, weights, ENDS)
    squared = sum(w * tube.distances(path).square() for w, path in zip(weights, paths, strict=True)) / sum(weights)
    assert squared.numpy() == pytest.approx(1.0, abs=1e-9)


def test_weights_count_as_copies():
    paths, _ = bundle(0.01, count=20)
    twice = Tube.around([*paths, *paths[:5]], [1.0] * 25, ENDS)
    weighted = Tube.around(paths, [2.0] * 5 + [1.0] * 15, ENDS)
    assert torch.allclose(twice.axis, weighted.axis, atol=1e-12)
    assert torch.allclose(twice.spread, weighted.spread, atol=1e-12)


def test_detours_before_the_final_transit_do_not_count():
    x = torch.linspace(0, 1, 11)
    straight = torch.stack((x, 0 * x), 1)
    detour = torch.stack((x[:8], 0.5 * torch.ones(8)), 1)
    levels = torch.tensor([0.25, 0.5, 0.75])
    points = last_passages(torch.cat((straight[:1], detour, straight)), ENDS, levels)
    assert torch.allclose(points, last_passages(straight, ENDS, levels), atol=1e-12)
    assert points[1].tolist() == pytest.approx([0.5, 0.0], abs=1e-12)


def test_the_axis_of_bent_paths_is_bent():
    """Half circles of radius 0.95, 1 and 1.05: the axis has radius 1 within the square of the deviation."""
    angle = torch.linspace(0, math.pi, 200)
    paths = [r * torch.stack((angle.cos(), angle.sin()), 1) for r in (0.95, 1.0, 1.05)]
    tube = Tube.around(paths, [1.0, 1.0, 1.0], torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert tube.axis.norm(dim=1).numpy() == pytest.approx(1.0, abs=0.01)

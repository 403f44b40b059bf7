"""Counting: Wilson's interval in closed form, the rule for stopping, the verdict."""

import math

import pytest

from tpsctl.simulation.shooting.committor import (
    Committor,
    CommittorVerdict,
    ShotRule,
    wilson_interval,
)


@pytest.mark.parametrize(("hits", "shots"), [(0, 10), (1, 7), (50, 100), (93, 200), (10, 10)])
def test_bounds_of_the_wilson_interval_solve_its_equation(hits, shots):
    """(p_hat - p)^2 = z^2 p (1 - p) / n holds at both bounds, to rounding."""
    z = 1.7
    for p in wilson_interval(hits, shots, z):
        assert (hits / shots - p) ** 2 == pytest.approx(z * z * p * (1 - p) / shots, abs=1e-15)


def test_the_interval_of_no_hits_is_known_in_closed_form():
    z, n = 1.96, 25
    assert wilson_interval(0, n, z) == pytest.approx((0.0, z * z / (n + z * z)), abs=1e-15)


def test_the_interval_of_no_shots_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_the_interval_is_mirrored_when_a_and_b_change_places():
    low, high = wilson_interval(3, 20)
    assert wilson_interval(17, 20) == pytest.approx((1 - high, 1 - low), abs=1e-15)


def test_shots_that_reach_neither_state_are_counted_but_no_part_of_the_committor():
    found = Committor.of(["A", "B", "B", "neither", "failed"])
    assert (found.a, found.b, found.neither, found.failed, found.shots) == (1, 2, 1, 1, 5)
    assert found.p_b == 2 / 3
    assert found.bounds == (2 / 4, 3 / 4)


def test_without_arrivals_there_is_no_committor():
    found = Committor(neither=9, failed=1)
    assert math.isnan(found.p_b)
    assert found.verdict is CommittorVerdict.UNDECIDED
    assert found.words == "not judged: 9 of 10 shots reached neither state and 1 of 10 shots broke down"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Committor(a=100, b=100), "transition state"),
        (Committor(a=130, b=70), "transition state, on the side of A"),
        (Committor(a=70, b=130), "transition state, on the side of B"),
        (Committor(a=195, b=5), "committed to A"),
        (Committor(a=5, b=195), "committed to B"),
        (Committor(a=50, b=50, neither=50), "not judged: 50 of 150 shots reached neither state"),
    ],
)
def test_the_verdict_in_words(found, words):
    assert found.words == words


@pytest.mark.parametrize(
    ("found", "enough"),
    [
        (Committor(a=10, b=0), False),  # too few, whatever they say
        (Committor(a=15, b=5), True),  # excludes 1/2
        (Committor(a=11, b=9), False),
        (Committor(a=110, b=90), True),  # width 0.138
        (Committor(a=150, b=50, neither=100), True),  # all are spent
        (Committor(neither=300), True),
        (Committor(neither=299), False),
    ],
)
def test_when_there_are_enough_shots(found, enough):
    assert ShotRule(least=20, most=300, width=0.14).enough(found) is enough

"""Bayesian optimization on functions whose least value is known."""

import math
import sys

import pytest
import torch

from tpsctl.errors import MissingDependencyError
from tpsctl.optimize.tuning import (
    Interval,
    _improvement,
    next_point,
    require_gaussian_processes,
    spread_points,
)

BOX = (Interval(-1.0, 3.0), Interval(0.0, 2.0))


def bowl(point):
    return (point[0] - 1.3) ** 2 + 2 * (point[1] - 0.4) ** 2


def search(function, evaluations, seed=0):
    points = spread_points(BOX, 6, seed)
    values = [function(point) for point in points]
    while len(points) < evaluations:
        points.append(next_point(BOX, points, values, seed))
        values.append(function(points[-1]))
    return points, values


def test_the_bottom_of_a_bowl_is_found():
    """Six spread points leave 0.5 or more in most boxes; twelve chosen ones come within 0.02."""
    points, values = search(bowl, 18)
    assert min(values) < 0.02
    assert min(values) < min(values[:6])


def test_it_goes_on_as_if_it_had_not_been_interrupted():
    points, values = search(bowl, 10)
    assert next_point(BOX, points[:8], values[:8], 0) == points[8]


def test_expected_improvement_against_monte_carlo(generator):
    mean, deviation, best = torch.tensor([0.3, -0.2]), torch.tensor([0.5, 0.1]), 0.1
    draws = mean + deviation * torch.randn(400_000, 2, generator=generator)
    expected = (best - draws).clamp_min(0).mean(0)
    # the standard error of the means is below 0.0005
    torch.testing.assert_close(_improvement(mean, deviation, best), expected, atol=0.002, rtol=0)


def test_points_lie_in_the_box_and_follow_from_the_seed():
    points = spread_points(BOX, 16, 5)
    assert all(-1 <= a <= 3 and 0 <= b <= 2 for a, b in points)
    assert points == spread_points(BOX, 16, 5)
    assert points != spread_points(BOX, 16, 6)


def test_a_logarithmic_range_is_searched_by_ratios():
    """The geometric mean of the ends is in the middle, and the bottom of a bowl in log x is found."""
    box = (Interval(0.01, 100.0, logarithmic=True),)
    found = torch.tensor(spread_points(box, 256, 0)).log10()
    assert bool((found.abs() <= 2).all())
    # Sobol points: half of them lie below the middle, to one in 256
    assert abs(float((found < 0).double().mean()) - 0.5) <= 1 / 256
    points = spread_points(box, 5, 0)
    while len(points) < 10:
        values = [(math.log10(point[0]) - 0.7) ** 2 for point in points]
        points.append(next_point(box, points, values, 0))
    assert min((math.log10(point[0]) - 0.7) ** 2 for point in points) < 0.01


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(MissingDependencyError, match=r'guide.tune needs .* pip install "tpsctl\[guide\]"'):
        require_gaussian_processes("guide.tune")

"""The reaction coordinate by the likelihood of shots: a known direction is recovered, and deviances are what they are.

The potential is V(u) + 3 w^2 with u = (x + y) / 2^(1/2), w = (x - y) / 2^(1/2) and V(u) = 4 (u^2 - 1)^2 + 0.8 u in kT:
a tilted double well along x + y. Overdamped, both motions are independent, so the committor depends on u alone: it is
the integral of exp(V) from one end to u over that from end to end.
"""

import math

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.molecule.features import PointFeatures
from tpsctl.simulation.shooting.coordinate import deviances, expected_deviance, fit_coordinate

GRID = torch.linspace(-1, 1, 2001, dtype=torch.float64)


def committor(u):
    rising = (4 * (GRID.square() - 1).square() + 0.8 * GRID).exp().cumsum(0)
    place = ((u.clamp(-1, 1) + 1) * 1000).long()
    return (rising / rising[-1])[place]


def shots_from(generator, samples, shots):
    u = 1.2 * torch.rand(samples, generator=generator) - 0.6
    w = 0.4 * torch.randn(samples, generator=generator)
    x = torch.stack((u + w, u - w), 1).div(math.sqrt(2)).unsqueeze(1)
    q = committor(u)
    to_b = torch.binomial(torch.full_like(q, float(shots)), q, generator=generator).long()
    return x, shots - to_b, to_b


def test_the_direction_of_the_coordinate_is_recovered(generator):
    x, a, b = shots_from(generator, 2000, 10)
    found = fit_coordinate(PointFeatures(2), x, a, b, seed=1)
    middle = float(((committor(GRID) - 0.5).abs()).argmin() / 1000 - 1)  # where the committor is one half
    at = torch.tensor([[[middle, middle]]], dtype=torch.float64).div(math.sqrt(2)).requires_grad_(True)
    r = found.coordinate(at)
    (slope,) = torch.autograd.grad(r.sum(), at)
    # 20 000 shots with p (1 - p) near 0.15 know r there, and a slope of about 3.5 in either direction, to about 0.05
    assert abs(r.item()) < 0.15
    angle = math.degrees(math.atan2(float(slope[0, 0, 1]), float(slope[0, 0, 0])))
    assert angle == pytest.approx(45, abs=3 * math.degrees(0.05 / 3.5))
    # in u, dq/du / (q (1 - q)) at q = 1/2
    du = 1e-2
    exact = 4 * float(committor(torch.tensor(middle + du)) - committor(torch.tensor(middle - du))) / (2 * du)
    assert float(slope.norm()) == pytest.approx(exact, rel=0.1)  # r is not quite linear in u, and the fit is quadratic
    assert found.deviance == pytest.approx(found.expected, rel=0.1)  # the error of a mean over 2000 samples is 0.04
    assert found.null > 3 * found.deviance


def test_what_does_not_matter_is_found_to_be_light(generator):
    """In x + y and x - y as coordinates, only the first one matters."""
    x, a, b = shots_from(generator, 1000, 10)
    turned = torch.stack((x.sum(2), x[:, :, 0] - x[:, :, 1]), 2)
    weights = fit_coordinate(PointFeatures(2), turned, a, b, seed=1).coordinate.weighed(turned)
    assert [weight.variable for weight in weights] == ["coordinate 1", "coordinate 2"]
    assert weights[0].logits > 5 * weights[1].logits


def test_a_penalty_is_chosen_by_what_it_predicts(generator):
    """Many features without meaning: the unpenalized fit predicts worse than a strongly penalized one."""
    x, a, b = shots_from(generator, 60, 3)
    wide = torch.cat((x, torch.randn(60, 1, 6, generator=generator)), 2)
    found = fit_coordinate(PointFeatures(8), wide, a, b, seed=1, penalties=(1e-3, 10.0))
    assert found.penalty == 10.0
    assert found.deviance == min(found.held_out.values()) == found.held_out[10.0]
    # the penalty of the whole fit shrinks r
    loose = fit_coordinate(PointFeatures(8), wide, a, b, seed=1, penalties=(1e-3,))
    assert loose.coordinate(wide).std() > found.coordinate(wide).std()


def test_the_deviance_is_zero_at_the_observed_fraction_and_chi_squared_around_it():
    a, b = torch.tensor([6.0, 400.0]), torch.tensor([2.0, 600.0])
    best = (b / a).log()
    torch.testing.assert_close(deviances(best, a, b), torch.zeros(2), atol=1e-10, rtol=0)
    # near the maximum the deviance is n p (1 - p) times the squared error of the logit
    off = deviances(best + 0.01, a, b)
    torch.testing.assert_close(off, torch.tensor([1.5, 240.0]) * 1e-4, rtol=5e-3, atol=0)


def test_the_expected_deviance_is_that_of_all_outcomes():
    r = torch.tensor([0.0, 1.3, -2.0])
    p = torch.sigmoid(r)
    one = (-2 * (p * p.log() + (1 - p) * (1 - p).log())).mean()  # of a single shot it is twice the entropy
    assert expected_deviance(r, torch.ones(3)) == pytest.approx(float(one))
    # for many shots it is the mean of chi squared with one degree of freedom, 1 + O(1/n)
    assert expected_deviance(torch.zeros(1), torch.tensor([400.0])) == pytest.approx(1, abs=5e-3)


def test_shots_that_reach_only_one_state_teach_nothing():
    x = torch.zeros(20, 1, 2)
    some, none = torch.ones(20, dtype=torch.int64), torch.zeros(20, dtype=torch.int64)
    with pytest.raises(DataError, match="20 samples with 20 shots to A and 0 to B"):
        fit_coordinate(PointFeatures(2), x, some, none, seed=1)
    with pytest.raises(DataError, match="got 0 samples"):
        fit_coordinate(PointFeatures(2), x, none, none, seed=1)

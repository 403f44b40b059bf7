"""Multipliers of several observables, and targets that cannot be reached."""

import pytest
import torch

from tpsctl.errors import TpsctlError
from tpsctl.score.guidance.maximum_entropy import maximum_entropy


def test_two_correlated_observables_of_a_gaussian(generator):
    """For Gaussian f with covariance S, lambda = S^-1 (mean - F); the sample's own tilted averages are exact."""
    root = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    values = torch.randn(20000, 2, generator=generator) @ root.T
    target = torch.tensor([0.3, -0.2])
    found = maximum_entropy(values, target, names=["f", "g"], generator=generator)
    expected = torch.linalg.solve(root @ root.T, -target)
    assert bool(((found.values - expected).abs() < 5 * found.errors).all())
    torch.testing.assert_close(found.averages, target, atol=1e-8, rtol=0)
    # KL = |S^(-1/2) (F - mean)|^2 / 2
    assert found.entropy_loss == pytest.approx((target @ -expected).item() / 2, rel=0.1)


def test_no_change_where_the_averages_are_the_targets(generator):
    values = torch.randn(500, 1, generator=generator)
    found = maximum_entropy(values, values.mean(0), names=["f"])
    assert found.values.abs().item() < 1e-8
    assert found.effective_size == pytest.approx(1)
    assert found.entropy_loss == pytest.approx(0, abs=1e-12)


def test_scale_and_origin_of_an_observable_do_not_matter(generator):
    values = torch.rand(300, 1, generator=generator)
    plain = maximum_entropy(values, torch.tensor([0.7]), names=["f"])
    scaled = maximum_entropy(1e6 * values + 5, torch.tensor([0.7e6 + 5]), names=["f"])
    assert scaled.values.item() * 1e6 == pytest.approx(plain.values.item(), rel=1e-6)


def test_a_target_near_the_edge_is_found(generator):
    """Newton's full step would overshoot; halved steps do not."""
    values = torch.linspace(0, 1, 1000).unsqueeze(1)
    found = maximum_entropy(values, torch.tensor([0.97]), names=["f"])
    # of a uniform law on [0, 1] the tilted mean near the edge is 1 - 1/|lambda|
    assert found.values.item() == pytest.approx(-1 / 0.03, rel=0.05)


def test_an_infeasible_target_is_named_with_the_range():
    values = torch.tensor([[1.0], [2.0], [3.0]])
    with pytest.raises(TpsctlError, match=r"3J \(Hz\): target 9 is out of reach: .* values from 1 to 3, average 2\."):
        maximum_entropy(values, torch.tensor([9.0]), names=["3J (Hz)"])


def test_targets_that_exclude_each_other_are_named(generator):
    first = torch.rand(400, generator=generator)
    values = torch.stack((first, 1 - first + 0.01 * torch.rand(400, generator=generator)), 1)
    with pytest.raises(TpsctlError, match="cannot be reached together.*f: target 0.8.*g: target 0.8"):
        maximum_entropy(values, torch.tensor([0.8, 0.8]), names=["f", "g"])


def test_values_that_are_no_numbers_are_counted():
    values = torch.tensor([[1.0], [torch.nan], [3.0]])
    with pytest.raises(TpsctlError, match="f: is not a number for 1 of 3 samples"):
        maximum_entropy(values, torch.tensor([2.0]), names=["f"])


def test_a_constant_observable_is_refused():
    with pytest.raises(TpsctlError, match="f: is 2 for every sample"):
        maximum_entropy(torch.full((5, 1), 2.0), torch.tensor([2.5]), names=["f"])

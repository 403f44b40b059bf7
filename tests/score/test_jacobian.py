"""Dense Jacobians: one evaluation of the score, and exactly what a column at a time gives."""

import pytest
import torch

from tpsctl.score.base import AutogradScore, FiniteDifferenceScore


def conservative(x):
    return -x * (1 + x.square()) + torch.sin(x.sum(1, keepdim=True))


def swirling(x):
    return torch.sin(x.roll(1, dims=-1)) * x.sum(1, keepdim=True) - x


def column_by_column(score, x):
    """J v for every unit vector v, each with an evaluation of its own."""
    units = torch.eye(x[0].numel()).view(-1, 1, *x.shape[1:])
    return torch.stack([score.jvp(x, unit.expand_as(x)).flatten(1) for unit in units], dim=2)


@pytest.mark.parametrize("function", [conservative, swirling])
def test_jacobian_is_that_of_autograd(function):
    x = torch.randn(4, 3, 2)
    score = AutogradScore(function, conservative=function is conservative)
    for k in range(4):
        exact = torch.autograd.functional.jacobian(lambda y: function(y.view(1, 3, 2)).flatten(), x[k].flatten())
        torch.testing.assert_close(score.jacobian(x)[k], exact, rtol=1e-12, atol=1e-12)  # rounding of float64


def test_jacobian_of_a_conservative_score_has_the_bits_of_its_columns():
    x, score = torch.randn(4, 3, 2), AutogradScore(conservative)
    assert torch.equal(score.jacobian(x), column_by_column(score, x))


@pytest.mark.parametrize("function", [conservative, swirling])
def test_jacobian_evaluates_the_score_once(function):
    calls = []

    def counted(x):
        calls.append(len(x))
        return function(x)

    AutogradScore(counted, conservative=function is conservative).jacobian(torch.randn(4, 3, 2))
    assert calls == [4]


def test_jacobian_of_a_score_that_autograd_cannot_follow():
    x, exact = torch.randn(4, 3, 2), AutogradScore(conservative)
    found = FiniteDifferenceScore(conservative).jacobian(x)
    torch.testing.assert_close(found, exact.jacobian(x), rtol=1e-6, atol=1e-6)  # step 1e-5: rounding 1e-16 / 1e-5


def test_jacobian_of_a_constant_score_is_zero():
    assert not AutogradScore(lambda x: torch.ones_like(x)).jacobian(torch.randn(2, 3, 2)).any()

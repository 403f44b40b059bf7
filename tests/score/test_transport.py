"""Points carried along potentials whose marginals are known: moving Gaussians."""

import math

import pytest
import torch

from tests.training.objectives.action_matching.gaussian import NOISE, ROWS, MovingGaussian
from tpsctl.score.transport import carry, diffuse, effective_size, even_times, resample

COUNT = 40_000


def start(q, generator):
    return q.first * torch.randn(COUNT, q.dims, generator=generator)


def test_the_plain_flow_maps_every_point_as_the_gaussian_widens(generator):
    """x_t = mu t + (sigma_t / sigma_0) x_0 is linear in t, which Runge-Kutta steps follow up to rounding."""
    q = MovingGaussian(*ROWS[2], dims=2)
    x = start(q, generator)[:50]
    found, _ = carry(q.plain, x, even_times(0.0, 1.0, 5))
    torch.testing.assert_close(found, q.mu + q.last / q.first * x, rtol=1e-12, atol=1e-12)
    back, _ = carry(q.plain, found, even_times(1.0, 0.0, 5))
    torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-12)


def test_halving_the_step_divides_the_error_by_sixteen(generator):
    """s = cos(t) |x|^2 / 2 gives x_t = exp(sin t) x_0 and log w = |x_0|^2 (exp(2 sin t) - 1) / 4."""
    x = torch.randn(20, 1, generator=generator)
    exact, exact_log = math.exp(math.sin(1.0)) * x, x[:, 0].square() * (math.exp(2 * math.sin(1.0)) - 1) / 4
    errors = []
    for steps in (8, 16):
        found, log_weights = carry(lambda x, t: t.cos() * x.square().sum(1) / 2, x, even_times(0.0, 1.0, steps))
        errors.append((float((found - exact).abs().max()), float((log_weights - exact_log).abs().max())))
    assert all(12 < coarse / fine < 20 for coarse, fine in zip(*errors, strict=True))


@pytest.mark.parametrize("row", range(3))
def test_the_entropic_process_has_the_same_marginals(row, generator):
    """Mean and variance at the end; four standard errors, plus 1/200 for the step of Euler-Maruyama."""
    q = MovingGaussian(*ROWS[row])
    found, _ = diffuse(q.entropic, start(q, generator), even_times(0.0, 1.0, 200), NOISE, generator)
    error = 4 * q.last / COUNT**0.5 + 0.005
    assert float(found.mean()) == pytest.approx(q.mu, abs=error)
    assert float(found.std()) == pytest.approx(q.last, abs=error)


def test_shared_noise_moves_all_points_alike(generator):
    q = MovingGaussian(1.0, 1.0, 1.0)
    x = torch.tensor([[0.0], [1.0]])
    drift = lambda x, t: x.sum(-1)  # noqa: E731
    found, _ = diffuse(drift, x, even_times(0.0, 1.0, 5), NOISE, generator, shared=True)
    torch.testing.assert_close(found[1] - found[0], torch.ones(1))
    assert q.dims == 1


@pytest.mark.parametrize(("row", "expected"), [(0, 0.89), (1, 0.78), (2, 0.63)])
def test_weighted_points_have_the_marginals_and_the_known_effective_size(row, expected, generator):
    """The moments of weighted points; effective sizes to the two digits that are known."""
    q = MovingGaussian(*ROWS[row])
    x, log_weights = carry(q.unbalanced, start(q, generator), even_times(0.0, 1.0, 40))
    size = effective_size(log_weights)
    assert size == pytest.approx(expected, abs=0.0125)
    weights = torch.softmax(log_weights, 0)
    mean = float((weights * x[:, 0]).sum())
    spread = math.sqrt(float((weights * (x[:, 0] - mean).square()).sum()))
    error = 5 * q.last / (size * COUNT) ** 0.5
    assert mean == pytest.approx(q.mu, abs=error)
    assert spread == pytest.approx(q.last, abs=error)
    assert float(log_weights.exp().mean()) == pytest.approx(1.0, abs=0.03), "mass is conserved"
    equal = resample(x, log_weights, generator)
    assert equal.shape == x.shape
    assert float(equal.mean()) == pytest.approx(q.mu, abs=2 * error)
    assert float(equal.std()) == pytest.approx(q.last, abs=2 * error)


def test_the_effective_size_of_equal_and_of_one_weight():
    assert effective_size(torch.zeros(10)) == pytest.approx(1.0)
    assert effective_size(torch.tensor([0.0, -1e9, -1e9, -1e9])) == pytest.approx(0.25)

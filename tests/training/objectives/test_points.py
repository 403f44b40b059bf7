"""Objectives on points: against the exact answer for Gaussian data."""

import pytest
import torch

from tpsctl.errors import DataError
from tpsctl.score.levels import cosine_tables
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.noise_prediction import NoisePrediction
from tpsctl.training.objectives.points import PointSettings
from tpsctl.training.objectives.velocity import VelocityRegression

STEPS = 600
TABLES = cosine_tables(64)


def noise_prediction(points, settings):
    levels = (TABLES[name].float() for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"))
    return NoisePrediction(points, settings, *levels)


def make_loop(objective, steps=STEPS, points=20_000, seed=0):
    data = torch.randn(points, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    made = objective(data, PointSettings(hidden=32, batch=512, small_times=0.5, seed=seed))
    law = WarmUpThenCosine(3e-3, steps, ahead=1)
    return Loop(made, LoopSettings(steps, law, RampedDecay(0.99, gained=0, span=1), seed=seed))


def trained(objective):
    loop = make_loop(objective)
    list(loop.steps())
    return loop.averaged_network()


def test_diffusion_finds_the_noise_of_gaussian_data():
    """For y ~ N(0, 1), x ~ N(0, 1) at every level, and the expected noise is sigma x."""
    network = trained(noise_prediction)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    for level in (3, 16, 48):
        found = network(x, torch.full((500,), level / 64)).detach()
        expected = float(TABLES["sqrt_one_minus_alphas_cumprod"][level]) * x
        assert float((found - expected).square().mean()) < 0.01  # of a variance of 1


def test_flow_finds_the_velocity_of_gaussian_data():
    """E[y - eps | x] = (s - (1 - s)) x / (s^2 + (1 - s)^2)."""
    network = trained(VelocityRegression)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    for s in (0.95, 0.7, 0.5):
        variance = s**2 + (1 - s) ** 2
        y = x * variance**0.5
        found = network(y, torch.full((500,), s)).detach()
        error = float((found - (2 * s - 1) / variance * y).square().mean())
        assert error < 0.1, (s, error)  # of a variance of 1 to 2; a short training


@pytest.mark.parametrize("objective", [noise_prediction, VelocityRegression])
def test_a_fraction_of_the_times_is_small(objective):
    made = make_loop(objective).objective
    t = made.draw(torch.Generator().manual_seed(0)).t
    assert float(t[:256].max()) < 0.1
    assert float(t[256:].max()) > 0.9


@pytest.mark.parametrize("objective", [noise_prediction, VelocityRegression])
def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one(objective):
    unbroken = make_loop(objective, steps=6, points=100)
    states = [(step, unbroken.store()) for step, _ in unbroken.steps()]
    network = unbroken.averaged_network().state_dict()
    for step, state in states:
        rest = make_loop(objective, steps=6, points=100)
        rest.restore(state)
        assert rest.step == step
        list(rest.steps())
        assert rest.losses == unbroken.losses
        assert all(torch.equal(value, network[name]) for name, value in rest.averaged_network().state_dict().items())


def test_a_state_of_diffusion_is_not_one_of_flow_matching():
    state = make_loop(noise_prediction).store()
    for other in (make_loop(VelocityRegression), make_loop(noise_prediction, points=99)):
        with pytest.raises(DataError, match="other settings or data"):
            other.restore(state)

"""Conversions between noise, score, clean estimate and velocity, on a Gaussian, where each has a closed form."""

import pytest
import torch

from tpsctl.score.conversions import clean_from_noise, noise_from_velocity, score_from_noise
from tpsctl.score.schedule import Flow, VarianceExploding, VariancePreserving

SCHEDULES = [VarianceExploding(0.001, 1.0), VariancePreserving(0.3), VariancePreserving(), Flow(0.3), Flow()]
TIMES = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
MEAN, STD = 0.2, 0.07  # of the Gaussian data, nm

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda x: f"{x.name}-{x}")


def exact_parametrizations(schedule, t, x_t):
    """Score, noise, clean estimate and velocity of N(MEAN, STD^2), each from its own closed form.

    x_t ~ N(alpha m, v) with v = alpha^2 STD^2 + sigma^2, and (x_0, eps, x_t) are jointly Gaussian, so every
    conditional mean is a line in x_t - alpha m with slope covariance / v.
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    v = alpha**2 * STD**2 + sigma**2
    away = (x_t - alpha * MEAN) / v
    clean, noise = MEAN + alpha * STD**2 * away, sigma * away
    # E[alpha' x_0 + sigma' eps | x_t] without going through the other two
    v_dot_half = schedule.alpha_dot(t) * alpha * STD**2 + schedule.sigma_dot(t) * sigma
    velocity = schedule.alpha_dot(t) * MEAN + v_dot_half * away
    return {"score": -away, "noise": noise, "clean": clean, "velocity": velocity}


def gaussian(schedule):
    """x_t at `TIMES` and what `exact_parametrizations` says there."""
    x_t = schedule.alpha(TIMES) * MEAN + torch.linspace(-2, 2, len(TIMES)) * schedule.sigma(TIMES)
    return x_t, exact_parametrizations(schedule, TIMES, x_t)


def assert_close(found, expected):
    """1e-12 of the largest value: dividing by alpha or sigma, each at least 1e-3, costs three of fifteen digits."""
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * float(expected.abs().max()))


@every_schedule
def test_score_from_noise(schedule):
    _, exact = gaussian(schedule)
    assert_close(score_from_noise(exact["noise"], schedule.sigma(TIMES)), exact["score"])


@every_schedule
def test_clean_estimate_from_noise(schedule):
    x_t, exact = gaussian(schedule)
    assert_close(clean_from_noise(x_t, exact["noise"], schedule.alpha(TIMES), schedule.sigma(TIMES)), exact["clean"])


@every_schedule
def test_noise_from_velocity(schedule):
    x_t, exact = gaussian(schedule)
    assert_close(noise_from_velocity(x_t, exact["velocity"], schedule, TIMES), exact["noise"])


@every_schedule
def test_the_velocity_of_a_gaussian_moves_its_quantiles(schedule):
    t = TIMES.clone().requires_grad_(True)
    width = (schedule.alpha(t) ** 2 * STD**2 + schedule.sigma(t) ** 2).sqrt()
    quantile = schedule.alpha(t) * MEAN + 1.3 * width
    (speed,) = torch.autograd.grad(quantile.sum(), t)
    velocity = exact_parametrizations(schedule, TIMES, quantile.detach())["velocity"]
    torch.testing.assert_close(velocity, speed, rtol=1e-10, atol=1e-12)

"""Schedules: derivatives, inverses, and the reverse process with the exact score of a Gaussian."""

import math

import pytest
import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.geometry import center
from tpsctl.score import schedule as s
from tpsctl.score.reverse_process import geometric_widths, reverse, standard_normal

SCHEDULES = [
    s.VarianceExploding(0.001, 1.0),
    s.VariancePreserving(0.3),
    s.VariancePreserving(),
    s.LinearVariancePreserving(0.3),
    s.SubVariancePreserving(0.3),
    s.Flow(0.3),
    s.BrownianMotion(0.3),
]
TIMES = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
MEAN, STD = 0.2, 0.07  # of the Gaussian data, nm

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda x: f"{x.name}-{x}")


@every_schedule
def test_derivatives_are_those_of_alpha_and_sigma(schedule):
    t = TIMES.clone().requires_grad_(True)
    for value, derivative in ((schedule.alpha, schedule.alpha_dot), (schedule.sigma, schedule.sigma_dot)):
        y = value(t)
        exact = torch.autograd.grad(y.sum(), t)[0] if y.requires_grad else torch.zeros_like(t)
        torch.testing.assert_close(derivative(TIMES), exact, rtol=1e-10, atol=1e-12)


@every_schedule
def test_noise_grows_from_none_and_time_of_is_its_inverse(schedule):
    width = schedule.relative_sigma(TIMES)
    assert (width.diff() > 0).all()
    torch.testing.assert_close(schedule.time_of(width), TIMES, rtol=0, atol=1e-9)  # acos near 1 costs digits
    assert float(schedule.alpha(torch.zeros(()))) == 1
    assert float(schedule.relative_sigma(torch.zeros(()))) <= 0.001


@every_schedule
def test_numbers_at_one_time_are_those_of_the_tensors(schedule):
    assert schedule.coefficients(0.3) == (float(schedule.alpha(t := torch.tensor(0.3))), float(schedule.sigma(t)))
    assert schedule.width(0.3) == float(schedule.relative_sigma(t))


@every_schedule
def test_time_of_stays_in_the_unit_interval(schedule):
    t = schedule.time_of(torch.tensor([1e-12, 1e6]))
    assert (t >= 0).all()
    assert (t <= 1).all()


@every_schedule
def test_b_and_g_make_the_mean_and_the_variance_that_alpha_and_sigma_state(schedule):
    """Under dx = f x dt + g dW the rates of mean, variance and log snr are f m, 2 f v + g^2 and -g^2 / sigma^2.

    The three rates are derivatives of closed forms by autograd, so only rounding is left.
    """
    t = TIMES.clone().requires_grad_(True)
    alpha, variance = schedule.alpha(t), schedule.sigma(t).square()
    rate = schedule.drift(torch.ones_like(TIMES), TIMES)
    if alpha.requires_grad:
        torch.testing.assert_close(torch.autograd.grad(alpha.sum(), t)[0], rate * alpha.detach(), rtol=1e-10, atol=0)
    (variance_dot,) = torch.autograd.grad(variance.sum(), t)
    found = 2 * rate * variance.detach() + schedule.diffusion_squared(TIMES)
    torch.testing.assert_close(found, variance_dot, rtol=1e-9, atol=1e-12)
    (log_snr_dot,) = torch.autograd.grad(schedule.snr(t).log().sum(), t)
    expected = -schedule.diffusion_squared(TIMES) / schedule.sigma(TIMES).square()
    torch.testing.assert_close(log_snr_dot, expected, rtol=1e-9, atol=0)


def test_published_diffusion_coefficients():
    """Variance exploding, eq. 30; variance preserving, eq. 32; sub-variance preserving, eq. 28 of arXiv:2011.13456."""
    beta, decay = 0.1 + TIMES * 19.9, 0.1 * TIMES + 9.95 * TIMES**2
    exploding = s.VarianceExploding(0.01, 50.0)
    expected = exploding.sigma(TIMES) ** 2 * 2 * math.log(5000)
    torch.testing.assert_close(exploding.diffusion_squared(TIMES), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(s.LinearVariancePreserving().diffusion_squared(TIMES), beta, rtol=1e-10, atol=0)
    sub = beta * (1 - torch.exp(-2 * decay))
    torch.testing.assert_close(s.SubVariancePreserving().diffusion_squared(TIMES), sub, rtol=1e-10, atol=0)


@pytest.mark.parametrize("kind", [s.VariancePreserving, s.LinearVariancePreserving])
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_variance_preserving_preserves_variance(kind, scale):
    schedule = kind(scale)
    total = schedule.alpha(TIMES) ** 2 + (schedule.sigma(TIMES) / scale) ** 2
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-14, atol=0)


@every_schedule
def test_schedules_survive_a_checkpoint(schedule):
    assert s.schedule_from_dict(schedule.to_dict()) == schedule


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "cosine"}, "got 'cosine', expected one of variance_exploding, variance_preserving, linear_var"),
        ({}, "got None"),
        ({"name": "flow", "speed": 1.0}, "schedule flow: .*speed"),
        ({"name": "flow", "scale": -0.3}, "schedule flow: scale: got -0.3, expected a finite number > 0"),
        ({"name": "sub_variance_preserving", "largest_rate": 0.01}, "largest_rate: got 0.01, expected at least"),
        ({"name": "variance_exploding", "sigma_min": 0.0, "sigma_max": 1.0}, "sigma_min: got 0.0"),
        ({"name": "variance_exploding", "sigma_min": 0.1, "sigma_max": math.nan}, "sigma_max: got nan"),
    ],
)
def test_unusable_schedules_are_refused(fields, message):
    with pytest.raises(PriorError, match=message):
        s.schedule_from_dict(fields)


@every_schedule
def test_the_reverse_process_with_an_exact_score_recovers_mean_and_spread(schedule, generator):
    """Every coordinate of data, relative to the center of its configuration, is N(m, (1 - 1/n) std^2)."""
    beads, count = 5, 4000
    mean = center(torch.linspace(-0.3, 0.3, beads * 3).reshape(1, beads, 3))
    largest = float(schedule.relative_sigma(torch.tensor(0.9)))
    widths = geometric_widths(largest, largest / 2000, 300)

    def score(y, width):
        return -(y - mean) / (STD**2 + width**2)

    y = (STD**2 + largest**2) ** 0.5 * standard_normal(torch.empty(count, beads, 3), generator) + mean
    x = reverse(score, y, widths, generator)
    # standard errors: 0.07/sqrt(4000) = 1.1e-3 of a mean (x 3.5), 1/sqrt(2 x 4000 x 12) = 0.3 % of the spread;
    # 300 ancestral steps leave a bias of the spread of about half the log step, 1.3 %
    torch.testing.assert_close(x.mean(0, keepdim=True), mean, rtol=0, atol=4e-3)
    expected = STD * (1 - 1 / beads) ** 0.5
    assert float((x - mean).square().mean().sqrt()) == pytest.approx(expected, rel=0.025)


def test_noise_widths_of_the_reverse_process_are_geometric():
    widths = geometric_widths(1.0, 0.001, 3)
    assert widths == pytest.approx([1.0, 0.1, 0.01, 0.001])


def test_reverse_noise_is_centered(generator):
    z = standard_normal(torch.empty(7, 4, 3), generator)
    assert float(z.mean(1).abs().max()) < 1e-15

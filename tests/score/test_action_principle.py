"""Score matching is the excess of an action, and the reverse processes of one family have equal marginals."""

import math

import numpy as np
import pytest
import torch

from tests.gaussian_mixture import GaussianMixture
from tpsctl.score.reverse_process import geometric_widths, reverse

MIXTURE = GaussianMixture(torch.tensor([0.3, 0.7]), torch.tensor([[1.4], [-0.6]]), torch.tensor([0.25, 0.4]))


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.5])
def test_the_excess_action_of_a_drift_is_its_squared_distance_from_the_score(factor):
    """A reverse process dy = v dtau' + dW of 1-D Gaussian data, with v = factor x score, from a point y_1.

    Its second moment M obeys M' = 1 - 2 k M with v = -k y. The action E int v^2/2 - E log p(y_0) exceeds -log p(y_1) by
    E int (v - score)^2 / 2. Runge-Kutta steps of 1e-3 leave 1e-12.
    """
    variance, y_1, high, steps = 0.49, 1.3, 4.0, 4000

    def rates(done, moment):
        k, exact = (f / (variance + high - done) for f in (factor, 1.0))
        return np.array([1 - 2 * k * moment, k**2 * moment / 2, (k - exact) ** 2 * moment / 2])

    state, h = np.array([y_1**2, 0.0, 0.0]), high / steps
    for n in range(steps):
        k1 = rates(n * h, state[0])
        k2 = rates((n + 0.5) * h, (state + h / 2 * k1)[0])
        k3 = rates((n + 0.5) * h, (state + h / 2 * k2)[0])
        k4 = rates((n + 1) * h, (state + h * k3)[0])
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    moment, running, excess = state
    action = running + moment / (2 * variance) + math.log(2 * math.pi * variance) / 2
    least = y_1**2 / (2 * (variance + high)) + math.log(2 * math.pi * (variance + high)) / 2
    assert action - least == pytest.approx(excess, abs=1e-9)
    assert (excess < 1e-12) == (factor == 1.0)


@pytest.mark.parametrize("width", [0.1, 1.0, 10.0])
def test_the_excess_of_the_bound_is_the_weighted_score_matching_loss(width):
    """E[s^2/2 + s'] exceeds its value at the true score by E|s - score|^2 / 2, for a score that is wrong at will.

    The integrals over the mixture are sums on a fine grid, exact for smooth integrands that vanish at the ends.
    """
    y = torch.linspace(-30, 30, 60001).mul(max(width, 1.0)).requires_grad_(True)
    density = MIXTURE.log_density(y.unsqueeze(1), width).exp().detach() * float(y[1] - y[0])

    def action(score):
        (slope,) = torch.autograd.grad(score.sum(), y, retain_graph=True)
        return float((density * (score.square() / 2 + slope)).sum())

    exact = MIXTURE.score(y.unsqueeze(1), width).squeeze(1)
    wrong = exact + 0.3 * torch.sin(y) - 0.1 * y
    loss = float((density * (wrong - exact).square() / 2).sum())
    assert action(wrong) - action(exact) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
def test_every_reverse_process_of_the_family_draws_from_the_data(kappa, generator):
    """The distance of the sample's distribution function is below what 4000 exact samples exceed once in 100 times.

    A step of 2 % in the width changes it by less than 0.005 more.
    """
    count, widths = 4000, geometric_widths(50.0, 0.02, 400)
    y = (50.0**2 + 1) ** 0.5 * torch.randn(count, 1, 1, generator=generator)

    def score(y, width):
        return MIXTURE.score(y.squeeze(1), width).unsqueeze(1)

    found = reverse(score, y, widths, generator, kappa=kappa, centered=False).flatten().sort().values
    normal = torch.distributions.Normal(MIXTURE.means.flatten(), MIXTURE.stds)
    exact = (MIXTURE.weights * normal.cdf(found.unsqueeze(1))).sum(1)
    empirical = (torch.arange(count) + 0.5) / count
    assert float((empirical - exact).abs().max()) < 1.63 / count**0.5 + 0.005


def test_without_noise_the_start_decides_and_with_noise_it_does_not():
    def drawn(kappa, seed):
        y = torch.linspace(-60, 60, 7).reshape(7, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        score = lambda y, width: MIXTURE.score(y.squeeze(1), width).unsqueeze(1)  # noqa: E731
        return reverse(score, y, geometric_widths(50.0, 0.02, 50), generator, kappa=kappa, centered=False)

    assert torch.equal(drawn(0.0, 1), drawn(0.0, 2))
    assert not torch.allclose(drawn(0.3, 1), drawn(0.3, 2))


def test_a_point_mass_is_drawn_from_exactly_in_one_step(generator):
    """For data at m the score is -(y - m)/s^2, and one step of any kappa has the exact mean and spread of s_1."""
    y, m = torch.full((20_000, 1, 1), 3.0), 0.4
    kappa, here, there = 0.6, 2.0, 0.7

    def score(y, width):
        return torch.where(torch.tensor(width == here), -(y - m) / width**2, torch.zeros_like(y))

    found = reverse(score, y, [here, there], generator, kappa=kappa, centered=False)
    shrink, noise = (there / here) ** (1 + kappa**2), there * (1 - (there / here) ** (2 * kappa**2)) ** 0.5
    # standard errors of 20 000 samples, times four
    assert float(found.mean()) == pytest.approx(m + shrink * (3.0 - m), abs=4 * noise / 20_000**0.5)
    assert float(found.std()) == pytest.approx(noise, rel=4 / 40_000**0.5)

"""Densities from scores, on Gaussian mixtures whose density is known at every noise width."""

import math

import pytest
import torch

from tests.gaussian_mixture import GaussianMixture
from tpsctl.score.base import AutogradScore
from tpsctl.score.likelihood import Diffusion, log_density_residual, nll_bound, nll_ode

MIXTURE = GaussianMixture(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[0.84, -0.525], [-0.36, 0.225]], dtype=torch.float64),
    torch.tensor([0.25, 0.4], dtype=torch.float64),
)
SMALLEST = 0.05


def law(mixture=MIXTURE, *, largest=100.0, factor=1.0, spread=0.0):
    """The exact diffused law, or one whose score is wrong by a factor."""

    def score_at(width):
        return AutogradScore(lambda y: factor * mixture.score(y.squeeze(1), width).unsqueeze(1))

    return Diffusion(score_at, SMALLEST, largest, spread)


def points(count=6):
    return MIXTURE.sample(count, torch.Generator().manual_seed(4)).unsqueeze(1)


def closed_form(y):
    return -MIXTURE.log_density(y.squeeze(1), SMALLEST)


def test_the_ode_gives_the_closed_form_of_a_mixture():
    """Within 1e-3 nats: steps of 0.04 in log(s) leave 1e-7, and the mismatch of the prior is of order 1 / 100^2."""
    y = points()
    found = nll_ode(law(), y)
    torch.testing.assert_close(found.nll, closed_form(y), rtol=0, atol=1e-3)
    assert float(found.prior_mismatch.max()) < 1e-3


def test_a_prior_law_that_knows_the_spread_of_gaussian_data_needs_little_noise():
    """Its noise law is then exact at any width; without it, the variance of pi is too small by 0.6^2 of 2^2."""
    gaussian = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([0.6]))
    y = gaussian.sample(4, torch.Generator().manual_seed(4)).unsqueeze(1)
    exact = -gaussian.log_density(y.squeeze(1), SMALLEST)
    known, unknown = (nll_ode(law(gaussian, largest=2.0, spread=s), y, steps=40) for s in (0.6, 0.0))
    torch.testing.assert_close(known.nll, exact, rtol=0, atol=1e-5)  # Runge-Kutta steps of 0.09
    assert float(known.prior_mismatch.max()) < 1e-10
    assert float((unknown.nll - exact).abs().min()) > 1e-3
    assert float(unknown.prior_mismatch.max()) > 1e-3


def test_the_bound_is_an_equality_for_the_exact_score():
    """Within five standard errors of the noise, which are those of 1000 draws of order one to ten nats."""
    y = points()
    found = nll_bound(law(), y, torch.Generator().manual_seed(0), draws=1000)
    assert float(found.standard_error.max()) < 0.3
    assert float(found.prior_mismatch.max()) < 1e-3
    assert ((found.nll - closed_form(y)).abs() < 5 * found.standard_error + 1e-3).all()


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_the_bound_lies_above_for_a_wrong_score(factor):
    """The mean excess over data is int E|score error|^2 / 2 dtau, (factor - 1)^2 / 2 times the Fisher integral."""
    y = MIXTURE.sample(100, torch.Generator().manual_seed(5)).unsqueeze(1)
    y = y + SMALLEST * torch.randn(y.shape, generator=torch.Generator().manual_seed(6))
    bounds = [nll_bound(law(factor=f), y, torch.Generator().manual_seed(0), draws=400).nll for f in (factor, 1.0)]
    excess = float((bounds[0] - bounds[1]).mean())
    assert float(bounds[0].mean()) > float(closed_form(y).mean()) + 0.1
    expected = (factor - 1) ** 2 / 2 * fisher_integral(SMALLEST, 100.0)
    assert excess == pytest.approx(expected, rel=0.1)  # the spread over 100 points with 400 draws each


def fisher_integral(low, high):
    """int E|score|^2 dtau of the mixture, by 4000 samples at 60 widths (Gauss-Legendre in log(s))."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(60)
    half = math.log(high / low) / 2
    total, generator = 0.0, torch.Generator().manual_seed(7)
    clean = MIXTURE.sample(4000, generator)
    for node, weight in zip(nodes, weights, strict=True):
        width = low * math.exp(half * (node + 1))
        y = clean + width * torch.randn(clean.shape, generator=generator)
        total += weight * half * 2 * width**2 * float(MIXTURE.score(y, width).square().sum(1).mean())
    return total


def test_a_molecule_has_three_coordinates_less():
    """Gaussian beads without their mean: the density is that of 3 (n - 1) independent normal coordinates."""
    std, beads = 0.3, 4
    model = Diffusion(
        lambda width: AutogradScore(lambda y: -(y - y.mean(1, keepdim=True)) / (std**2 + width**2)),
        0.01,
        30.0,
        centered=True,
    )
    y = std * torch.randn(5, beads, 3, generator=torch.Generator().manual_seed(0))
    away = y - y.mean(1, keepdim=True)
    variance = std**2 + 0.01**2
    expected = away.square().sum((1, 2)) / (2 * variance) + 9 / 2 * math.log(2 * math.pi * variance)
    torch.testing.assert_close(nll_ode(model, y).nll, expected, rtol=0, atol=2e-3)  # mismatch: 9/2 (0.3/30)^2
    found = nll_bound(model, y, torch.Generator().manual_seed(0), draws=1000)
    assert ((found.nll - expected).abs() < 5 * found.standard_error + 2e-3).all()


def test_the_hamilton_jacobi_residual_of_diffused_data_is_zero():
    def log_density(y, width):
        return MIXTURE.log_density(y.squeeze(1), width)

    y, width = points(), torch.linspace(0.1, 2.0, 6)
    residual = log_density_residual(log_density, y, width)
    torch.testing.assert_close(residual, torch.zeros(6), rtol=0, atol=1e-9)
    shifted = log_density_residual(lambda y, s: log_density(y, s) + 3 * s.square(), y, width)
    torch.testing.assert_close(shifted, torch.full((6,), 3.0), rtol=0, atol=1e-9)
    wrong = log_density_residual(lambda y, s: 1.1 * log_density(y, s), y, width)
    assert float(wrong.abs().min()) > 1e-3

"""The Gaussian prior: exact for every schedule."""

import pytest
import torch

from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.score.schedule import Flow, VarianceExploding, VariancePreserving

SCHEDULES = [VarianceExploding(0.01, 1.0), VariancePreserving(scale=0.3), Flow(scale=0.5)]


def prior(schedule):
    return GaussianPrior(mean_nm=(0.2, -0.1, 0.4), std_nm=0.15, schedule=schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9])
def test_score_is_the_gradient_of_the_noised_density(schedule, t):
    model, x = prior(schedule), torch.randn(5, 1, 3, requires_grad=True)
    width = torch.tensor(0.15**2 + model.sigma_nm(t) ** 2).sqrt()
    density = torch.distributions.Normal(torch.tensor([[0.2, -0.1, 0.4]]), width)
    (expected,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    torch.testing.assert_close(model.at(t)(x.detach()), expected)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_noising_and_denoising_samples_gives_samples(schedule, generator):
    model, count = prior(schedule), 20_000
    clean = model.denoise(model.noise(model.sample(count, generator), 0.4, generator), 0.4, generator)
    error = 0.15 / count**0.5  # standard error of the mean; of the deviation 1/sqrt(2) of it
    assert ((clean.mean(0) - torch.tensor([[0.2, -0.1, 0.4]])).abs() < 5 * error).all()
    assert ((clean.std(0) - 0.15).abs() < 5 * error).all()


def test_without_noise_denoising_changes_nothing(generator):
    model, x = prior(Flow()), torch.randn(3, 1, 3)
    torch.testing.assert_close(model.denoise(model.noise(x, 0.0, generator), 0.0, generator), x)

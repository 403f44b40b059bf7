"""The prior of Action Matching on Gaussian data, where potential, score and density are known at every time."""

import pytest
import torch

from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.networks.potential_perceptron import PotentialPerceptron
from tpsctl.prior.action_matching import action_matching_prior
from tpsctl.prior.fields.potential_perceptron import PotentialPerceptronField
from tpsctl.score.conversions import noise_from_velocity
from tpsctl.score.schedule import Flow

SCALE, OFFSET, STD = 0.3, (0.1, -0.2), 0.7
"""Unit of the network in nm, origin in nm, width of the data in network units."""


class Exact(PotentialPerceptron):
    """The entropic potential of N(0, STD^2) data on the straight path, at time from noise (0) to data (1)."""

    def __init__(self, noise):
        super().__init__(PerceptronSizes(2, 4, 2, "swish"))
        self.noise = noise

    def forward(self, y, t):
        variance = (t * STD).square() + (1 - t).square()
        stretch = (t * STD**2 - (1 - t)) / variance - self.noise**2 / (2 * variance)
        return stretch / 2 * y.square().sum(-1)


def exact_prior(noise):
    return action_matching_prior(
        PotentialPerceptronField(Exact(noise)), noise=noise, scale_nm=(SCALE,), offset_nm=OFFSET
    )


def variance(t):
    return ((1 - t) * STD) ** 2 + t**2


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("t", [0.01, 0.3, 0.9])
def test_score_and_density_are_those_of_the_noised_gaussian(noise, t, generator):
    prior = exact_prior(noise)
    y = torch.randn(6, 1, 2, generator=generator)
    x = prior.units.from_network(y)
    expected = -y / variance(t) / SCALE
    torch.testing.assert_close(prior.at(t)(x), expected, rtol=1e-9, atol=1e-9)  # the unit's origin is a float32
    step = 1e-6 * torch.randn(x.shape, generator=generator)
    slope = prior.log_density(x + step, t) - prior.log_density(x - step, t)
    torch.testing.assert_close(slope, 2 * (expected * step).sum((1, 2)), rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_without_noise_the_gradient_is_the_velocity_of_the_probability_flow(t, generator):
    """The conversion of velocities, written for increasing t, gives the same noise as the prior's own."""
    prior = exact_prior(0.0)
    y = torch.randn(5, 1, 2, generator=generator)
    velocity = -prior.field(y, 1 - t)
    expected = noise_from_velocity(y, velocity, Flow(), torch.tensor(t))
    torch.testing.assert_close(prior.output.noise_estimate(y, t), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.8])
def test_samples_have_the_width_of_the_data(noise, generator):
    """Four standard errors of 4000 samples, and 2 % for 200 Euler-Maruyama steps."""
    x = exact_prior(noise).sample(2000, generator, steps=200)
    expected = SCALE * STD
    assert float((x - torch.tensor(OFFSET)).std()) == pytest.approx(expected, rel=4 / 8000**0.5 + 0.02)


def test_shared_noise_keeps_equal_configurations_equal(generator):
    prior = exact_prior(0.8)
    x = prior.units.from_network(torch.ones(1, 1, 2)).expand(3, -1, -1)
    clean = prior.denoise(x, 0.3, generator, steps=5, shared_noise=True)
    assert torch.equal(clean[0], clean[2])
    different = prior.denoise(x, 0.3, generator, steps=5)
    assert not torch.equal(different[0], different[2])


def test_a_trained_potential_sees_the_noise_in_pure_noise(generator):
    z = torch.randn(4, 1, 2, generator=generator)
    for noise in (0.0, 0.8):
        torch.testing.assert_close(exact_prior(noise).output.noise_in_noise(z), z)


def test_jacobian_products_follow_from_the_gradient(generator):
    prior = exact_prior(0.0)
    x = prior.units.from_network(torch.randn(2, 1, 2, generator=generator))
    expected = -torch.eye(2).expand(2, 2, 2) / variance(0.2) / SCALE**2
    torch.testing.assert_close(prior.at(0.2).jacobian(x), expected, rtol=1e-9, atol=1e-9)

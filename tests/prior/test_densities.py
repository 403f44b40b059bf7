"""Log-densities of trained networks, with networks that are exact for Gaussian data."""

import math

import pytest
import torch

from tpsctl.prior.conversions.noise import NoiseOutput
from tpsctl.prior.densities import log_densities
from tpsctl.prior.field import Field
from tpsctl.prior.network import NetworkPrior, velocity_prior, width_noise_prior
from tpsctl.prior.samplers.reverse_family import ReverseFamilySampler
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.schedule import Flow, LinearVariancePreserving, VarianceExploding, VariancePreserving

SCALE, OFFSET = (7.0, 9.0), (31.0, 18.0)


class ExactField(Field):
    """The output for standard normal data in the network's unit: a multiple of the input that depends on the clock."""

    n_beads, n_dims, conservative, centered = 1, 2, True, False

    def __init__(self, factor):
        self.network, self._factor = torch.nn.Linear(1, 1), factor

    def __call__(self, y, clock):
        return self._factor(clock) * y

    def energy(self, y, clock):
        return -self._factor(clock) / 2 * y.square().sum((1, 2))


def flow():
    """The velocity towards data at s = 1 - t is (2 s - 1) / (s^2 + (1 - s)^2) x."""
    return velocity_prior(ExactField(lambda s: (2 * s - 1) / (s**2 + (1 - s) ** 2)), scale_nm=SCALE, offset_nm=OFFSET)


def by_width(schedule):
    """The noise in y is r / (1 + r^2) y, so r / (1 + r^2)^(1/2) times the scaled input; the clock is log(r)/4."""
    field = ExactField(lambda clock: math.exp(4 * clock) / (1 + math.exp(8 * clock)) ** 0.5)
    field.smallest_width = 0.005
    return width_noise_prior(field, schedule, scale_nm=SCALE, offset_nm=OFFSET)


def by_time():
    """The noise in x_t is sigma x_t, for data and schedule of unit variance."""
    schedule = LinearVariancePreserving()
    output = NoiseOutput(ExactField(lambda t: schedule.coefficients(t)[1]), schedule, NetworkUnits(SCALE, OFFSET))
    return NetworkPrior("diffusion", output, ReverseFamilySampler(output))


PRIORS = {
    "flow": flow,
    "variance exploding": lambda: by_width(VarianceExploding(0.01, 50.0)),
    "cosine": lambda: by_width(VariancePreserving()),
    "straight": lambda: by_width(Flow()),
    "noise at a time": by_time,
}


@pytest.mark.parametrize("name", PRIORS)
def test_the_normalized_density_of_gaussian_data(name):
    """log N(x; offset, scale^2 (1 + r^2)), in nm^-2: its unit, its constant and its noise width."""
    prior, x, t = PRIORS[name](), torch.tensor([[[31.0, 18.0]], [[25.0, 30.0]]]), 0.1
    found = log_densities(prior, x, t, steps=100)
    width = prior.schedule.width(t)
    std = torch.tensor(SCALE) * (1 + width**2) ** 0.5
    z = (x.squeeze(1) - torch.tensor(OFFSET)) / std
    expected = -z.square().sum(1) / 2 - std.log().sum() - math.log(2 * math.pi)
    torch.testing.assert_close(found.normalized, expected, rtol=0, atol=1e-5)  # Runge-Kutta steps of 0.1 in log(s)
    assert found.coordinates == 2
    assert float(found.prior_mismatch.max()) < 1e-6  # the noise law knows the spread of the data
    assert found.width_nm == pytest.approx(width * (sum(s**2 for s in SCALE) / 2) ** 0.5)


@pytest.mark.parametrize("name", ["variance exploding", "straight"])
def test_the_relative_density_differs_by_one_constant(name):
    prior, x = PRIORS[name](), torch.tensor([[[31.0, 18.0]], [[25.0, 30.0]], [[40.0, 2.0]]])
    found = log_densities(prior, x, 0.1, steps=100)
    difference = found.normalized - found.relative
    torch.testing.assert_close(difference, difference[:1].expand(3), rtol=0, atol=1e-5)
    assert log_densities(by_time(), x, 0.1, steps=50).relative is not None


def test_samples_of_every_kappa_have_the_spread_of_the_data(generator):
    """5000 samples: a standard error of 1 % of a standard deviation, times four, and 1 % from steps of 5 %."""
    output = by_width(VarianceExploding(0.01, 50.0)).output
    for kappa in (0.0, 1.0):
        prior = NetworkPrior("score_matching", output, ReverseFamilySampler(output, kappa=kappa))
        x = prior.sample(5000, generator, steps=200).squeeze(1)
        torch.testing.assert_close(x.std(0), torch.tensor(SCALE), rtol=0.05, atol=0)
        torch.testing.assert_close(x.mean(0), torch.tensor(OFFSET), rtol=0, atol=4 * 9 / 5000**0.5)

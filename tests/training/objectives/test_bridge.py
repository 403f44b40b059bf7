"""Half steps of a Schroedinger bridge, between Gaussians where the bridge has a closed form."""

import math

import pytest
import torch

from tpsctl.score.bridge import carry
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.bridge import BridgePoints, BridgeSettings, SchroedingerBridge

STD, NOISE = 0.5, 0.8


class ClosedForm:
    """The bridge from N(0, a^2) to N(0, 1): jointly Gaussian ends with covariance c, a Brownian bridge between them.

    c = (4 a^2 + s^4)^(1/2) / 2 - s^2 / 2 for noise s (Bunne et al., arXiv:2202.05722, theorem 3 with one dimension).
    """

    def __init__(self, std=STD, noise=NOISE):
        self.std, self.noise = std, noise
        self.covariance = math.sqrt(4 * std**2 + noise**4) / 2 - noise**2 / 2

    def variance(self, t):
        ends = (1 - t) ** 2 * self.std**2 + 2 * t * (1 - t) * self.covariance + t**2
        return ends + self.noise**2 * t * (1 - t)

    def to_data(self, t):
        """b / x = (E[x_0 | x_t] / x_t - 1) / t."""
        return (((1 - t) * self.std**2 + t * self.covariance) / self.variance(t) - 1) / t

    def to_noise(self, t):
        """f / x = (E[x_1 | x_t] / x_t - 1) / (1 - t)."""
        return ((t + (1 - t) * self.covariance) / self.variance(t) - 1) / (1 - t)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_two_drifts_of_a_bridge_add_up_to_the_score(t):
    """f + b = noise^2 grad log p, which is what a prior takes from a bridge."""
    exact = ClosedForm()
    assert exact.to_data(t) + exact.to_noise(t) == pytest.approx(-(NOISE**2) / exact.variance(t), rel=1e-12)


def test_each_process_of_the_closed_form_carries_one_law_to_the_other(generator):
    """The end of either process has the other law; 20 000 points and 200 steps cost half a per cent each."""
    exact = ClosedForm()
    times = torch.linspace(1e-6, 1 - 1e-6, 201).tolist()
    x = STD * torch.randn(20_000, 1, generator=generator)
    end = carry(lambda x, t: exact.to_noise(float(t[0])) * x, x, times, NOISE, generator)
    assert float(end.std()) == pytest.approx(1.0, rel=0.03)
    assert float((x * end).mean()) == pytest.approx(exact.covariance, rel=0.05)
    y = torch.randn(20_000, 1, generator=generator)
    start = carry(lambda x, t: exact.to_data(float(t[0])) * x, y, times[::-1], NOISE, generator)
    assert float(start.std()) == pytest.approx(STD, rel=0.03)


def make(steps, half_steps, **choices):
    points = STD * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    settings = BridgeSettings(hidden=24, batch=512, noise=NOISE, steps=steps, images=20, **choices)
    objective = SchroedingerBridge(points.float(), settings, layers=3)
    total = steps * half_steps
    law = WarmUpThenCosine(5e-3, total, ahead=1)
    return Loop(objective, LoopSettings(total, law, RampedDecay(0.98, gained=0, span=1)))


def slope(drift, t):
    """Slope of a drift on the line, by regression over the law of the bridge at t."""
    x = (torch.linspace(-2, 2, 200) * ClosedForm().variance(t) ** 0.5).float().unsqueeze(1)
    found = drift(x, torch.full((200,), t)).detach()
    return float((found * x).sum() / x.square().sum())


@pytest.mark.parametrize("to_data", [True, False])
def test_pairs_of_the_bridge_make_its_drift_the_best(to_data):
    """At the closed-form drift the loss of a half step has no slope along any other linear drift, by sampling.

    The derivative by the slope of the drift at each of four times is zero within four standard errors of 200 000 pairs.
    """
    exact, count = ClosedForm(), 200_000
    generator = torch.Generator().manual_seed(2)
    data = STD * torch.randn(count, 1, generator=generator)
    rest = (1 - (exact.covariance / STD) ** 2) ** 0.5
    end = exact.covariance / STD**2 * data + rest * torch.randn(count, 1, generator=generator)
    made = make(1, 1).objective
    for t in (0.05, 0.3, 0.7, 0.95):
        change = torch.zeros((), requires_grad=True)
        linear = exact.to_data(t) if to_data else exact.to_noise(t)
        name = "to_data" if to_data else "to_noise"
        setattr(made.network, name, _Linear(linear, change))
        noise = torch.randn(count, 1, generator=generator)
        loss = made.loss(BridgePoints(data, end, torch.full((count, 1), t), noise, to_data))
        (derivative,) = torch.autograd.grad(loss, change)
        assert abs(float(derivative)) < 4 * 2 * NOISE / count**0.5


class _Linear(torch.nn.Module):
    def __init__(self, slope, change):
        super().__init__()
        self._slope, self._change = slope, change

    def forward(self, x, t):
        return (self._slope + self._change) * x


def test_half_steps_lead_to_the_bridge_between_gaussians():
    """Both drifts within 0.15 of slopes of order one; the first half step alone, score matching, is far from it."""
    loop, exact = make(250, 6), ClosedForm()
    list(loop.steps(until=250))
    first = slope(loop.objective.network.to_data, 0.5)
    assert first == pytest.approx(-(NOISE**2) / (STD**2 + NOISE**2 * 0.5), abs=0.15)
    list(loop.steps())
    network = loop.averaged_network()
    for t in (0.3, 0.5, 0.7):
        assert slope(network.to_data, t) == pytest.approx(exact.to_data(t), abs=0.15), t
        assert slope(network.to_noise, t) == pytest.approx(exact.to_noise(t), abs=0.15), t


def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one():
    unbroken = make(2, 3)
    states = [unbroken.store() for _ in unbroken.steps()]
    for state in states:
        rest = make(2, 3)
        rest.restore(state)
        list(rest.steps())
        assert rest.losses == unbroken.losses

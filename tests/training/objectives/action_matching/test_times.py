"""Adaptive times: their density, their evenness, and that they change no expectation."""

import pytest
import torch

from tpsctl.training.objectives.action_matching.times import KNOTS, AdaptiveTimes


def learned(spread, generator, steps=40):
    times = AdaptiveTimes()
    for _ in range(steps):
        t, _ = times.draw(2000, generator)
        times.learn(t, spread(t) * torch.randn(len(t), generator=generator))
    return times


def test_they_are_even_at_first(generator):
    """The largest gap of u_0 + sqrt(2) n is a small multiple of 1/n; independent numbers leave gaps of log(n)/n."""
    t, density = AdaptiveTimes().draw(1000, generator)
    assert torch.equal(density, torch.ones(1000))
    assert float(t.sort().values.diff().max()) < 3 / 1000
    assert AdaptiveTimes().effective_fraction == pytest.approx(1.0)


def test_the_density_follows_the_spread_of_the_losses(generator):
    """Ten times the spread in the second half: densities 2/11 and 20/11, mixed with one per cent of 1."""
    times = learned(lambda t: 1 + 9 * (t > 0.5), generator)
    density = times.density()
    assert float(density.mean()) == pytest.approx(1.0)
    assert float(density[: KNOTS // 2 - 2].mean()) == pytest.approx(0.99 * 2 / 11 + 0.01, rel=0.05)
    assert float(density[KNOTS // 2 + 2 :].mean()) == pytest.approx(0.99 * 20 / 11 + 0.01, rel=0.05)
    t, at = times.draw(20_000, generator)
    assert float((t > 0.5).double().mean()) == pytest.approx(10 / 11, abs=0.01)
    assert times.effective_fraction == pytest.approx(
        float((1 / at).sum() ** 2 / (len(at) * (1 / at).square().sum())), rel=0.01
    )


def test_division_by_the_density_keeps_the_integral(generator):
    """int t^2 dt = 1/3 whatever has been learned; low-discrepancy numbers leave an error of order 1/n."""
    times = learned(lambda t: 0.1 + 5 * t, generator)
    t, density = times.draw(20_000, generator)
    assert float((t.square() / density).mean()) == pytest.approx(1 / 3, abs=1e-3)


def test_an_interval_without_losses_gets_the_mean_and_no_loss_gives_even_times(generator):
    times = AdaptiveTimes()
    t = torch.linspace(0, 0.5, 50_000)
    times.learn(t, torch.randn(len(t), generator=generator))
    assert float(times.density()[-1]) == pytest.approx(1.0, rel=0.1)
    still = AdaptiveTimes()
    still.learn(torch.linspace(0, 1, 50_000), torch.zeros(50_000))
    assert torch.equal(still.density(), torch.ones(KNOTS - 1))


def test_the_moments_can_be_stored(generator):
    times, other = learned(lambda t: 1 + t, generator), AdaptiveTimes()
    other.restore(times.store())
    assert torch.equal(other.density(), times.density())

"""Coupled draws, their variance, and runs that stop and go on."""

import pytest
import torch

from tests.training.objectives.action_matching.gaussian import ROWS, MovingGaussian
from tpsctl.errors import DataError
from tpsctl.score.schedule import Flow
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.action_matching.marginals import NoiseToData
from tpsctl.training.objectives.action_matching.objective import ActionMatchingSettings, matching_of_points


def points(count=100):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float32)


def test_the_path_from_noise_to_data_is_straight_and_ends_on_the_data(generator):
    data = points()
    t = torch.rand(50, generator=generator)
    first, middle, last = NoiseToData(data, Flow()).draw(t, generator)
    torch.testing.assert_close(middle, (1 - t).float().unsqueeze(1) * first + t.float().unsqueeze(1) * last)
    assert all(bool((data == row).all(1).any()) for row in last)
    assert not any(bool((data == row).all(1).any()) for row in first)


def test_coupled_draws_have_less_variance_than_independent_ones(generator):
    """With the minimizer as potential; the independent draws take each of the three points from a draw of its own."""
    q = MovingGaussian(*ROWS[0])
    objective = matching_of_points(q, ActionMatchingSettings(batch=20_000))
    draws = [objective.draw(generator) for _ in range(3)]

    def losses(first, middle, last):
        t = middle.t.double()
        ends = q.plain(first.first.double(), 0 * t) - q.plain(last.last.double(), 0 * t + 1)
        objective._network = q.plain
        return ends + objective.integrand(_double(middle)).detach()

    coupled, independent = losses(draws[0], draws[0], draws[0]), losses(*draws)
    assert float(coupled.mean()) == pytest.approx(float(independent.mean()), abs=0.05)
    assert float(independent.var() / coupled.var()) > 2


def _double(batch):
    return type(batch)(*(getattr(batch, name).double() for name in batch.__dataclass_fields__))


def make_loop(steps=6, count=100, noise=0.0):
    objective = matching_of_points(
        NoiseToData(points(count), Flow()), ActionMatchingSettings(noise=noise, hidden=8, layers=3, batch=2000)
    )
    return Loop(objective, LoopSettings(steps, WarmUpThenCosine(1e-3, steps), RampedDecay(0.9), seed=0))


def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one():
    unbroken = make_loop()
    states = [(step, unbroken.store()) for step, _ in unbroken.steps()]
    assert unbroken.objective.times.effective_fraction < 1, "the density has been learned, so that it is tested too"
    network = unbroken.averaged_network().state_dict()
    for step, state in states:
        rest = make_loop()
        rest.restore(state)
        assert rest.step == step
        list(rest.steps())
        assert rest.losses == unbroken.losses
        assert all(torch.equal(value, network[name]) for name, value in rest.averaged_network().state_dict().items())


def test_other_data_or_noise_is_another_run():
    state = make_loop().store()
    for other in (make_loop(count=99), make_loop(noise=0.5)):
        with pytest.raises(DataError, match="other settings or data"):
            other.restore(state)

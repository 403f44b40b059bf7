"""Score matching on points: both forms, weights, laws of times and schedules, on mixtures whose score is known."""

import math

import numpy as np
import pytest
import torch

from tests.gaussian_mixture import GaussianMixture
from tpsctl.score import schedule as s
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.score_matching import DiffusedPoints, ScoreMatching, ScoreMatchingSettings
from tpsctl.training.times import TIME_LAWS, WEIGHTS, ImportanceTimes, UniformTimes

SCHEDULES = [
    s.VarianceExploding(0.02, 50.0),
    s.VariancePreserving(),
    s.LinearVariancePreserving(),
    s.SubVariancePreserving(),
    s.Flow(),
]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda x: x.name)
BOUNDS = (0.02, 50.0)


def mixture(dim):
    """Unequal components of about unit spread."""
    means = torch.tensor([[1.2, -0.8], [-0.8, 0.5]])[:, :dim]
    return GaussianMixture(torch.tensor([0.4, 0.6]), means, torch.tensor([0.3, 0.5]))


def objective(points, *, schedule=SCHEDULES[2], times="importance", bounds=BOUNDS, hidden=32, batch=256, **choices):
    law = TIME_LAWS[times](schedule, *bounds)
    return ScoreMatching(points, ScoreMatchingSettings(hidden, batch, **choices), law)


def quadrature_batch(data, width, *, nodes=80):
    """All pairs of nodes of Gauss-Hermite quadrature in clean point and noise, 1-D; its mean is the expectation.

    The weight is the probability of the pair times the number of pairs, for the loss is a mean.
    """
    z, w = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(nodes))
    w = w / w.sum()
    clean = (data.means + data.stds.unsqueeze(1) * z).reshape(-1)
    probability = (data.weights.unsqueeze(1) * w).reshape(-1)
    a, b = torch.meshgrid(torch.arange(len(clean)), torch.arange(nodes), indexing="ij")
    weight = probability[a.reshape(-1)] * w[b.reshape(-1)]
    count = len(weight)
    one = torch.ones(count)
    return DiffusedPoints(
        clean[a.reshape(-1), None], z[b.reshape(-1), None], width * one, weight * count, one.unsqueeze(1)
    )


@pytest.mark.parametrize("width", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("conservative", [False, True])
def test_both_forms_have_equal_gradients_on_a_mixture(width, conservative):
    """In one dimension, with the expectation by quadrature, the random sign squares to one: only rounding is left."""
    data = mixture(1)
    batch, gradients, losses = quadrature_batch(data, width), [], []
    for form in ("denoising", "implicit"):
        made = objective(torch.zeros(4, 1), form=form, hidden=12, conservative=conservative)
        made.network.double()
        loss = made.loss(batch)
        gradients.append(torch.autograd.grad(loss, list(made.network.parameters())[:-1]))
        losses.append(float(loss.detach()))
    for denoising, implicit in zip(*gradients, strict=True):
        torch.testing.assert_close(implicit, denoising, rtol=1e-9, atol=1e-10)
    assert losses[0] - losses[1] == pytest.approx(0.5, abs=1e-9)  # the constant is E|eps|^2 / 2


def test_random_signs_average_to_the_exact_divergence():
    """Over all four pairs of signs the mean of v . J v is the trace, whatever J is."""
    made = objective(torch.zeros(4, 2), form="implicit", hidden=12)
    made.network.double()
    y, width = torch.tensor([[0.3, -0.7]]), torch.tensor([0.4])

    def noise(y):
        return made.predicted_noise(y, width)

    jacobian = torch.autograd.functional.jacobian(noise, y).reshape(2, 2)
    expected = noise(y).detach().square().sum() / 2 - 0.4 * jacobian.trace()
    signs = torch.tensor([[a, b] for a in (1.0, -1.0) for b in (1.0, -1.0)])
    four = DiffusedPoints(y.expand(4, -1), torch.zeros(4, 2), width.expand(4), torch.ones(4), signs)
    assert float(made.loss(four).detach()) == pytest.approx(float(expected), rel=1e-12)


@every_schedule
@pytest.mark.parametrize("law", [UniformTimes, ImportanceTimes])
def test_times_have_the_density_that_they_state(schedule, law):
    """The mean of 1/q is the length of the interval of times, and of w/(sigma^2 q) the integral of g^2/sigma^2.

    40 000 stratified points with a common shift have an error of up to half a step times the largest integrand; that is
    600 for g^2/sigma^2 at uniform times, so 7e-4 of the integral of 15.6.
    """
    made = law(schedule, *BOUNDS)
    t, inverse_density = made.draw(40_000, torch.Generator().manual_seed(0))
    widths = schedule.relative_sigma(t)
    low, high = made.widths
    assert (widths > low * (1 - 1e-9)).all()
    assert (widths < high * (1 + 1e-9)).all()
    ends = schedule.time_of(torch.tensor([low, high]))
    assert float(inverse_density.mean()) == pytest.approx(float(ends[1] - ends[0]), rel=1e-3)
    span = WEIGHTS["likelihood"](schedule, t) * inverse_density / schedule.sigma(t).square()
    assert float(span.mean()) == pytest.approx(2 * math.log(high / low), rel=1e-3)


@every_schedule
def test_importance_makes_every_time_count_alike(schedule):
    """With the likelihood weight and importance times the factor of |error of the noise|^2 / 2 is one constant."""
    made = objective(torch.zeros(4, 1), schedule=schedule)
    weight = made.draw(torch.Generator().manual_seed(0)).weight
    low, high = ImportanceTimes(schedule, *BOUNDS).widths
    torch.testing.assert_close(weight, torch.full_like(weight, 2 * math.log(high / low)), rtol=1e-5, atol=0)


def trained(points, *, steps=700, **choices):
    made = objective(points, bounds=(0.25, 5.0), **choices)
    law = WarmUpThenCosine(1e-2, steps, ahead=1)
    loop = Loop(made, LoopSettings(steps, law, RampedDecay(0.99, gained=0, span=1)))
    list(loop.steps())
    loop.averaged_network()
    return made


def score_error(made, data, width):
    """Mean squared error of the score relative to its mean square, over the noised data."""
    generator = torch.Generator().manual_seed(3)
    y = data.sample(4000, generator) + width * torch.randn(4000, data.means.shape[1], generator=generator)
    exact = data.score(y, width)
    found = -made.predicted_noise(y.float(), torch.full((4000,), width).float()).detach() / width
    return float((found - exact).square().mean() / exact.square().mean())


@pytest.mark.parametrize(
    "choices",
    [
        *({"schedule": schedule, "weight": "simple", "times": "uniform"} for schedule in SCHEDULES),
        {"schedule": s.VariancePreserving(), "times": "uniform"},
        {},
        {"form": "implicit", "batch": 1024},
        {"conservative": True},
    ],
    ids=[*(schedule.name for schedule in SCHEDULES), "likelihood", "importance", "implicit", "conservative"],
)
def test_every_choice_learns_the_score_of_a_mixture(choices):
    """One bound for all, 5 % of the mean square of the score, at widths below, at and above the spread of the data."""
    data = GaussianMixture(torch.tensor([0.4, 0.6]), mixture(2).means, torch.tensor([0.5, 0.7]))
    points = data.sample(20_000, torch.Generator().manual_seed(1)).float()
    made = trained(points, **choices)
    errors = {width: score_error(made, data, width) for width in (0.6, 1.0, 3.0)}
    assert max(errors.values()) < 0.05, errors


def test_a_broken_run_ends_bit_for_bit_like_the_unbroken_one():
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(1)).float()

    def fresh():
        law = WarmUpThenCosine(3e-3, 6, ahead=1)
        made = objective(points, form="implicit", batch=16)
        return Loop(made, LoopSettings(6, law, RampedDecay(0.99, gained=0, span=1)))

    unbroken = fresh()
    states = [unbroken.store() for _ in unbroken.steps()]
    for state in states:
        rest = fresh()
        rest.restore(state)
        list(rest.steps())
        assert rest.losses == unbroken.losses

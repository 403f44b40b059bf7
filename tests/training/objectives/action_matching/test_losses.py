"""The four losses of Action Matching against closed forms, by quadrature and by training."""

import pytest
import torch

from tests.training.objectives.action_matching.gaussian import (
    NOISE,
    ROWS,
    MovingGaussian,
    expectation,
    loss_by_quadrature,
)
from tpsctl.training.laws import RampedDecay, WarmUpThenCosine
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.action_matching.objective import ActionMatchingSettings, matching_of_points

VARIANTS = {"plain": {}, "entropic": {"noise": NOISE}, "unbalanced": {"growth": 1.0}}
GOLDEN = {
    "plain": (-0.17000, -0.50000, -0.62500),
    "entropic": (-0.14321, -0.50781, -0.55398),
    "unbalanced": (-0.081167, -0.25000, -0.41921),
}
"""Least losses for the rows of `gaussian.ROWS`, computed independently of this code."""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("row", range(3))
def test_the_least_loss_is_the_golden_one(variant, row):
    """Quadrature is exact for polynomials and converged for the widths; 1e-5 is the golden numbers' rounding."""
    q = MovingGaussian(*ROWS[row])
    found = loss_by_quadrature(q, getattr(q, variant), **VARIANTS[variant])
    assert found == pytest.approx(GOLDEN[variant][row], abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_other_potential_has_a_larger_loss(variant):
    q = MovingGaussian(*ROWS[2])
    least = loss_by_quadrature(q, getattr(q, variant), **VARIANTS[variant])
    for change in (
        lambda x, t: x[:, 0],
        lambda x, t: (x[:, 0] - 0.3).square() * t,
        lambda x, t: torch.sin(3 * x[:, 0]),
    ):
        for factor in (-0.2, 0.2):
            other = lambda x, t, c=change, f=factor: getattr(q, variant)(x, t) + f * c(x, t)  # noqa: E731
            assert loss_by_quadrature(q, other, **VARIANTS[variant]) > least + 1e-4


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, 0.5)])
def test_a_weight_keeps_the_minimizer_and_weighs_the_kinetic_energy(weights):
    """The least weighted loss is -1/2 int w (mu^2 + sigma'^2) dt: with a linear w, the mean weight times the plain one.

    The tolerance is that of Gauss-Legendre quadrature with 40 nodes of a function that is smooth.
    """
    q, (first, last) = MovingGaussian(*ROWS[0]), weights
    found = loss_by_quadrature(q, q.plain, first=first, last=last)
    assert found == pytest.approx(-(first + last) / 2 * (q.mu**2 + q.rate**2) / 2, abs=1e-10)
    for factor in (-0.1, 0.1):
        other = lambda x, t, f=factor: q.plain(x, t) + f * torch.sin(x[:, 0])  # noqa: E731
        assert loss_by_quadrature(q, other, first=first, last=last) > found + 1e-5


def test_a_constant_is_a_gauge_of_two_variants_and_the_growth_of_the_third():
    """Adding a time-dependent constant changes nothing, but for unbalanced dynamics, where E_q s = 0 is the minimum."""
    q = MovingGaussian(*ROWS[0])
    for variant, settings in VARIANTS.items():
        best = getattr(q, variant)
        moved = lambda x, t, s=best: s(x, t) + 0.7 + 0.4 * t  # noqa: E731
        change = loss_by_quadrature(q, moved, **settings) - loss_by_quadrature(q, best, **settings)
        # E s = 0, so that the change is 1/2 int (0.7 + 0.4 t)^2 dt
        expected = (1.1**3 - 0.7**3) / (6 * 0.4) if variant == "unbalanced" else 0.0
        assert change == pytest.approx(expected, abs=1e-10)
    t = torch.linspace(0, 1, 7)
    assert float(expectation(q, t, q.unbalanced).abs().max()) < 1e-12


def test_the_objective_is_the_quadrature_of_its_integrand():
    """One large batch of the objective against quadrature; the tolerance is four standard errors of the batch."""
    q = MovingGaussian(*ROWS[2])
    objective = matching_of_points(q, ActionMatchingSettings(noise=NOISE, weight_last=0.5, hidden=8, batch=40_000))
    network = objective.network
    torch.nn.init.normal_(network.layers[-1].weight, std=0.3)
    batch = objective.draw(torch.Generator().manual_seed(0))
    found = float(objective.loss(batch))
    network.double()
    expected = loss_by_quadrature(q, network, noise=NOISE, last=0.5)
    first = network(batch.first.double(), 0 * batch.t.double()).detach()
    error = float(first.std()) / len(first) ** 0.5
    assert found == pytest.approx(expected, abs=4 * max(error, 1e-3))


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_comes_within_two_per_cent_of_the_least_loss(variant):
    q, settings = MovingGaussian(*ROWS[2]), VARIANTS[variant]
    objective = matching_of_points(q, ActionMatchingSettings(**settings, hidden=32, layers=4, batch=256))
    assert float(objective.loss(objective.draw(torch.Generator().manual_seed(1)))) == 0.0, "no potential, no growth"
    steps = 1500
    law = WarmUpThenCosine(5e-3, steps)
    loop = Loop(objective, LoopSettings(steps, law, RampedDecay(0.99), largest_gradient_norm=1.0, seed=2))
    list(loop.steps())
    network = loop.averaged_network().double()
    least = GOLDEN[variant][2]
    found = loss_by_quadrature(q, network, **settings)
    assert least - 1e-5 < found < least * (1 - 0.02)
    if variant == "unbalanced":
        growth = expectation(q, torch.linspace(0, 1, 5), network)
        assert float(growth.abs().max()) < 0.05, "normalized marginals do not grow"

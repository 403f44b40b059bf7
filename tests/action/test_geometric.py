"""The geometric action against closed forms, its bound, and the invariances that make it time-free."""

import math

import pytest
import torch

from tests.action.test_actions import curved_score, dynamics
from tpsctl.action import Dynamics, GeometricAction
from tpsctl.errors import TpsctlError
from tpsctl.optimize import LBFGS, Adam, Convergence, LevenbergMarquardt, Status
from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.score.base import AutogradScore
from tpsctl.units import thermal_energy

BARRIER, HALF = 20.0, 0.2
KT = thermal_energy(300.0)


def well(dims=1, **motion):
    prior = DoubleWellPrior(temperature_k=300.0, barrier=BARRIER, half_distance_nm=HALF, stiffness=2000.0, n_dims=dims)
    values = {"dt_ps": 1.0, "diffusion_nm2_per_ps": 0.1} | motion
    return GeometricAction(prior.at(0.0), Dynamics.uniform(n_beads=1, **values))


def line(places, dims=1):
    path = torch.zeros(1, len(places), 1, dims)
    path[0, :, 0, 0] = places
    return path


def excess(images):
    """S over its closed form, the barrier twice over 2 kT, minus one."""
    found = well().terms(line(torch.linspace(-HALF, HALF, images))).total
    return (found / (BARRIER / KT) - 1).item()


def test_the_action_over_a_double_well_is_its_barrier_over_kt():
    """Ups and downs are twice the barrier, over 2 kT; the trapezoidal rule errs as 1/L^2 with a known sign."""
    coarse, fine = excess(41), excess(81)
    assert abs(coarse) < 4e-3
    assert coarse / fine == pytest.approx(4, rel=0.02)


def test_the_action_out_of_a_gaussian_is_exact():
    """|b| is linear along a ray, where the trapezoidal rule is exact: S = r^2 / 4 std^2."""
    action = GeometricAction(GaussianPrior(mean_nm=(0.0, 0.0), std_nm=0.1).at(0.0), dynamics(1))
    ray = torch.linspace(0, 1, 9).view(1, -1, 1, 1) * torch.tensor([0.3, 0.4])
    assert action.terms(ray).total.item() == pytest.approx(0.25 / (4 * 0.01), rel=1e-12)
    assert action.terms(ray).kinetic.item() == pytest.approx(action.terms(ray).drift.item(), rel=1e-12)


def test_neither_time_step_nor_diffusion_coefficient_matters():
    places = line(torch.linspace(-HALF, HALF, 21))
    for other in ({"dt_ps": 7e-3}, {"diffusion_nm2_per_ps": 13.0}):
        assert well(**other).terms(places).total.item() == pytest.approx(well().terms(places).total.item(), rel=1e-12)


def test_beads_of_different_mobility_are_weighted_by_it():
    """With s = -x / std^2 on a straight ray, S = |dz| |b| / 2 with z = x / sqrt(D), b = sqrt(D) s."""
    d = torch.tensor([0.2, 1.7])
    score = AutogradScore(lambda x: torch.full_like(x, 3.0))
    paths = torch.linspace(0, 1, 5).view(1, -1, 1, 1) * torch.ones(2, 2)
    found = GeometricAction(score, Dynamics(1.0, d)).terms(paths).total.item()
    moved, drift = math.sqrt(float((2 / d).sum())), math.sqrt(float((2 * 9 * d).sum()))
    assert found == pytest.approx(moved * drift / 2, rel=1e-12)


def test_where_on_the_path_its_images_lie_does_not_matter():
    """The drift term is half the integral along the curve; only the spacing's share of the kinetic term differs."""
    even, uneven = (line(HALF * (2 * torch.linspace(0, 1, 31) ** power - 1)) for power in (1, 2))
    here, there = well().terms(even), well().terms(uneven)
    assert there.drift.item() == pytest.approx(here.drift.item(), rel=1e-12)
    gaps = uneven.diff(dim=1).flatten()
    assert (there.total - here.total).item() == pytest.approx((gaps.var(correction=0) / gaps.mean() ** 2).item())


def test_jumping_over_the_barrier_gains_nothing():
    """All inner images lie in a minimum, where there is no drift; the straight line to the other costs its barrier."""
    jump = line(torch.tensor([-HALF] * 20 + [HALF]))
    assert well().terms(jump).drift.item() * 2 == pytest.approx(BARRIER / KT, rel=0.02)
    assert well().terms(jump).total > well().terms(line(torch.linspace(-HALF, HALF, 21))).total + 1


@pytest.mark.parametrize("seed", range(5))
def test_no_path_between_minima_of_mueller_brown_has_less_than_its_bound(seed):
    """The lowest climb between them is 9.147 up and 5.727 down; wiggles of random size only add to it."""
    prior = MuellerBrownPrior(temperature_k=300.0)
    ends = torch.tensor([[23.073, 31.072], [41.897, 8.463]])
    s = torch.linspace(0, 1, 80).view(-1, 1)
    waves = [torch.sin(math.pi * k * s) * torch.randn(2, generator=torch.Generator().manual_seed(seed)) for k in (1, 2)]
    path = (ends[0] + s * (ends[1] - ends[0]) + 4 * sum(waves)).view(1, -1, 1, 2)
    found = GeometricAction(prior.at(0.0), Dynamics.uniform(dt_ps=1.0, diffusion_nm2_per_ps=1.0, n_beads=1)).terms(path)
    assert found.total.item() > (9.147 + 5.727) / (2 * KT)


def test_the_gradient_is_the_derivative_and_zero_at_the_ends():
    """Central differences of 1e-6 are good to 1e-8 of values of order 1."""
    paths = torch.randn(2, 6, 2, 2)
    action = GeometricAction(curved_score(), dynamics(2))
    _, gradient = action.value_and_gradient(paths)
    assert not gradient[:, [0, -1]].any()
    for image, bead, dim in ((1, 0, 0), (2, 1, 1), (4, 0, 1)):
        shift = torch.zeros_like(paths)
        shift[:, image, bead, dim] = 1e-6
        slope = (action.terms(paths + shift).total - action.terms(paths - shift).total) / 2e-6
        torch.testing.assert_close(gradient[:, image, bead, dim], slope, rtol=1e-6, atol=1e-7)


def test_a_path_at_rest_has_a_gradient_that_is_finite():
    path = line(torch.tensor([-HALF, 0.0, HALF]))
    _, gradient = well().value_and_gradient(path)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("optimizer", [
    LBFGS(max_steps=300, convergence=Convergence(1e-8, 0.05)),
    Adam(learning_rate_nm=1e-3, max_steps=1500, convergence=Convergence(1e-3, 20.0)),
], ids=["lbfgs", "adam"])  # fmt: skip
def test_a_bent_path_relaxes_into_the_valley_with_its_bound(optimizer):
    """1 % for Adam, whose fixed rate keeps it moving about |b|, which has no slope at its minimum across the valley."""
    bow = line(torch.linspace(-HALF, HALF, 31), dims=2)
    bow[0, 1:-1, 0, 1] = 0.05 * torch.sin(torch.linspace(0, math.pi, 31))[1:-1]
    found, outcome = optimizer.minimize(well(2), bow)
    assert outcome.terms.total.item() == pytest.approx(BARRIER / KT, rel=1e-2)
    assert torch.equal(found[:, [0, -1]], bow[:, [0, -1]])


def test_lbfgs_finds_the_passes_of_mueller_brown():
    """S within 0.3 % of sum |dU| / 2kT over minima and saddles: 100 images err by 0.1 % near the minima."""
    ends = torch.tensor([[[23.073, 31.072]], [[41.897, 8.463]]])
    path = torch.lerp(ends[:1], ends[1:], torch.linspace(0, 1, 100).view(-1, 1, 1)).unsqueeze(0)
    prior = MuellerBrownPrior(temperature_k=2.405454)  # kT = 0.02 kJ/mol
    action = GeometricAction(prior.at(0.0), Dynamics.uniform(dt_ps=1.0, diffusion_nm2_per_ps=0.2, n_beads=1))
    found, outcome = LBFGS(max_steps=500, convergence=Convergence(1e-4, 1.0), max_displacement_nm=1.0).minimize(
        action, path
    )
    assert outcome.status == (Status.CONVERGED,)
    bound = (9.147 + 3.483 + 0.772 + 3.016) / 0.04
    assert outcome.terms.total.item() == pytest.approx(bound, rel=3e-3)
    assert prior.potential.energy(found[0]).max().item() == pytest.approx(-3.539, abs=0.02)


def test_levenberg_marquardt_refuses_it_and_names_what_applies():
    with pytest.raises(TpsctlError, match=r'needs a sum of squares; "geometric" is none.*"string"'):
        LevenbergMarquardt(max_steps=2).minimize(well(), line(torch.linspace(-HALF, HALF, 5)))

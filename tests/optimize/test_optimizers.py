"""What every optimizer must do: find the closed-form minimum, keep the ends, treat paths as independent."""

import math

import pytest
import torch

from tpsctl.action import (
    Dynamics,
    EulerMaruyamaAction,
    ExactDivergence,
    OnsagerMachlupAction,
    ScoreInPrecision,
    TruncatedAction,
)
from tpsctl.errors import PathError, TpsctlError
from tpsctl.optimize import LBFGS, SGD, Adam, Convergence, LevenbergMarquardt, Status
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.score.base import AutogradScore
from tpsctl.units import BOLTZMANN

TIGHT = Convergence(action_tolerance=1e-10, gradient_tolerance_per_nm=1e-4)
LOOSE = Convergence(action_tolerance=1e-8, gradient_tolerance_per_nm=1e-2)
D, OMEGA = 0.05, 5.0  # drift -OMEGA x of a Gaussian with std^2 = D / OMEGA


def straight(start, end, images, paths=1):
    fraction = torch.linspace(0, 1, images, dtype=torch.float64).view(-1, 1, 1)
    start, end = torch.tensor([start], dtype=torch.float64), torch.tensor([end], dtype=torch.float64)
    return (start + fraction * (end - start)).repeat(paths, 1, 1, 1)


def harmonic(steps=10, duration=0.3):
    prior = GaussianPrior(mean_nm=(0.0, 0.0), std_nm=math.sqrt(D / OMEGA))
    motion = Dynamics.uniform(dt_ps=duration / steps, diffusion_nm2_per_ps=D, n_beads=1)
    return TruncatedAction(prior.at(0.0), motion)


def harmonic_score(x):
    """The score of `harmonic`, as a function that autograd can follow."""
    return -OMEGA / D * x


def discrete_sinh(start, end, steps, duration):
    """Exact minimum of the discrete action: x_{i+1} - 2 x_i + x_{i-1} = (omega dt)^2 x_i."""
    rate = math.acosh(1 + (OMEGA * duration / steps) ** 2 / 2)
    i = torch.arange(steps + 1, dtype=torch.float64).view(-1, 1, 1)
    start, end = torch.tensor([start], dtype=torch.float64), torch.tensor([end], dtype=torch.float64)
    return (start * torch.sinh(rate * (steps - i)) + end * torch.sinh(rate * i)) / math.sinh(rate * steps)


METHODS = {
    "lm": LevenbergMarquardt(max_steps=50, convergence=TIGHT),
    "lm_products": LevenbergMarquardt(max_steps=50, convergence=TIGHT, solver="products"),
    "lbfgs": LBFGS(max_steps=100, convergence=TIGHT),
    "adam": Adam(learning_rate_nm=2e-3, max_steps=2000, convergence=LOOSE),
    "sgd": SGD(learning_rate_nm2=1e-3, max_steps=500, convergence=LOOSE),
}


@pytest.mark.parametrize("method", METHODS)
def test_harmonic_minimum_is_the_sinh_path(method):
    start, end = (0.1, -0.1), (-0.2, 0.3)
    paths = straight(start, end, 11, paths=2)
    paths[1, 1:-1] += 0.02 * torch.randn_like(paths[1, 1:-1])
    found, outcome = METHODS[method].minimize(harmonic(), paths)
    assert outcome.status == (Status.CONVERGED, Status.CONVERGED)
    assert outcome.remedy == ("", "")
    # dS/dx < 1e-2 per nm (first-order methods) over the least curvature, L^2-th part of 2 / (2 D dt): some 60 per nm^2.
    expected = discrete_sinh(start, end, 10, 0.3)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=0, atol=2e-4)
    assert torch.equal(found[:, [0, -1]], paths[:, [0, -1]])


def test_minimum_converges_to_the_continuous_sinh_path_at_second_order():
    start, end, duration = (0.1, -0.1), (-0.2, 0.3), 0.3
    errors = []
    lm = LevenbergMarquardt(max_steps=50, convergence=Convergence(1e-14, 1e-9))
    for steps in (10, 20, 40):
        found, _ = lm.minimize(harmonic(steps, duration), straight(start, end, steps + 1))
        tau = torch.linspace(0, duration, steps + 1).view(-1, 1, 1)
        a, b = torch.tensor([start]), torch.tensor([end])
        exact = a * torch.sinh(OMEGA * (duration - tau)) + b * torch.sinh(OMEGA * tau)
        errors.append((found[0] - exact / math.sinh(OMEGA * duration)).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def mueller_brown_action(kind=TruncatedAction, dt_ps=0.1):
    prior = MuellerBrownPrior(temperature_k=0.2 * 0.1 / BOLTZMANN)
    return kind(prior.at(0.0), Dynamics.uniform(dt_ps=dt_ps, diffusion_nm2_per_ps=0.2, n_beads=1))


def bowed(paths=3):
    x = straight((23.0, 30.0), (40.0, 9.0), 30, paths)
    bow = torch.sin(torch.linspace(0, math.pi, 30)).view(-1, 1)
    for k in range(paths):
        x[k, 1:-1, :, 0] += (1.5 * k - 2) * bow[1:-1]
    return x


@pytest.mark.parametrize("kind", [TruncatedAction, EulerMaruyamaAction])
@pytest.mark.parametrize(
    "optimizer",
    [
        LevenbergMarquardt(max_steps=40),
        LBFGS(max_steps=40, convergence=Convergence(1e-8, 1e-2), max_displacement_nm=2.0),
        Adam(learning_rate_nm=0.2, max_steps=30),
        SGD(learning_rate_nm2=1e-3, max_steps=30),
    ],
    ids=lambda o: o.method,
)
def test_a_batch_is_its_paths_one_by_one(kind, optimizer):
    action, paths = mueller_brown_action(kind), bowed()
    together, outcome = optimizer.minimize(action, paths)
    assert outcome.terms.total.isfinite().all()
    for k in range(len(paths)):
        alone, one = optimizer.minimize(action, paths[k : k + 1])
        # Batched matrix products may round differently; the iterations then part by little.
        torch.testing.assert_close(together[k], alone[0], rtol=0, atol=1e-3)
        assert together[k, 0].equal(paths[k, 0])
        assert outcome.terms.total[k].item() == pytest.approx(one.terms.total[0].item(), rel=1e-6)


def test_levenberg_marquardt_and_lbfgs_find_the_same_minimum_each_from_the_guess_on_mueller_brown():
    """At this step there is one minimum; at 0.1 ps there are several, and each method may end in its own."""
    action, guesses = mueller_brown_action(dt_ps=0.04), bowed(3)
    tight = Convergence(1e-9, 1e-2)
    lm, by_lm = LevenbergMarquardt(max_steps=100, convergence=tight).minimize(action, guesses)
    bfgs, by_bfgs = LBFGS(max_steps=300, convergence=tight, max_displacement_nm=2.0).minimize(action, guesses)
    assert by_lm.all_converged
    assert by_bfgs.all_converged
    assert min(by_lm.steps + by_bfgs.steps) >= 3, "every path had a way to go"
    torch.testing.assert_close(by_bfgs.terms.total, by_lm.terms.total, rtol=1e-6, atol=0)
    torch.testing.assert_close(bfgs, lm, rtol=0, atol=1e-2)  # dS/dx < 1e-2 per nm, least curvature ~ 1 per nm^2


PUBLISHED = {
    TruncatedAction: {0: 470.04464722, 1: 426.94396973, 500: 211.53},
    OnsagerMachlupAction: {0: 469.21105957, 1: 426.04888916, 100: 254.3264, 200: 210.5443, 500: 206.6119},
}
"""Action after so many Adam steps from the straight line, by the published notebook (arXiv:2504.18506), in float32."""


def adam_trace(kind, steps):
    """Published settings: 50 images, dt 0.1, zeta 0.1, D 0.2, Adam 0.2.

    The notebook sums |dx|^2/(2 dt) + dt |F|^2/(2 zeta^2) and, in the full action, (D dt/zeta) div F with F = -grad U.
    With score F/kT and kT = D zeta these are 2 D (A + B + C): the divergence counted once, the last image left out.
    """
    prior = MuellerBrownPrior(temperature_k=0.2 * 0.1 / BOLTZMANN)
    motion = Dynamics.uniform(dt_ps=0.1, diffusion_nm2_per_ps=0.2, n_beads=1)
    extra = () if kind is TruncatedAction else (ExactDivergence(),)
    trace = []
    Adam(learning_rate_nm=0.2, max_steps=steps, convergence=Convergence(0.0, 0.0)).minimize(
        kind(prior.at(0.0), motion, *extra),
        straight((23.0, 30.0), (40.0, 9.0), 50),
        on_step=lambda report: trace.append(2 * 0.2 * report.terms.total.item()),
    )
    return trace


@pytest.mark.parametrize("kind", PUBLISHED)
def test_mueller_brown_starts_like_the_published_run(kind):
    trace = adam_trace(kind, 1)
    for step in (0, 1):
        assert trace[step] == pytest.approx(PUBLISHED[kind][step], rel=1e-6)  # theirs is float32


@pytest.mark.slow  # 500 Adam steps under run-time shape checks
@pytest.mark.parametrize("kind", PUBLISHED)
def test_mueller_brown_ends_like_the_published_run(kind):
    trace = adam_trace(kind, 500)
    for step, value in PUBLISHED[kind].items():
        assert trace[step] == pytest.approx(value, rel=5e-4)  # at a fixed rate Adam wanders by this much in float32


def test_levenberg_marquardt_refuses_an_action_that_is_no_sum_of_squares():
    prior = MuellerBrownPrior(temperature_k=300.0)
    motion = Dynamics.uniform(dt_ps=0.1, diffusion_nm2_per_ps=0.2, n_beads=1)
    action = OnsagerMachlupAction(prior.at(0.0), motion, ExactDivergence())
    with pytest.raises(TpsctlError, match="needs a sum of squares"):
        LevenbergMarquardt(max_steps=1).minimize(action, bowed(1))


@pytest.mark.parametrize("method", METHODS)
def test_a_path_that_turns_non_finite_stops_alone_with_its_last_good_state(method):
    """The score is not a number beyond x = 0.3 nm from the start on: path 1 goes there, path 0 does not."""

    def score(x):
        return torch.where(x.abs().amax((1, 2), keepdim=True) > 0.35, torch.nan, harmonic_score(x))

    action = TruncatedAction(AutogradScore(score), harmonic().dynamics)
    paths = torch.cat([straight((0.1, -0.1), (-0.2, 0.3), 11), straight((0.5, -0.1), (-0.2, 0.3), 11)])
    found, outcome = METHODS[method].minimize(action, paths)
    assert outcome.status == (Status.CONVERGED, Status.NON_FINITE)
    assert torch.equal(found[1], paths[1])
    assert found.isfinite().all()
    assert "smaller steps" in outcome.remedy[1]


def test_a_wall_of_nan_is_not_crossed_by_methods_that_can_shorten_steps():
    """Trials that land on NaN are shortened: the minimum beside the wall is still found."""

    def score(x):
        return torch.where(x.abs().amax((1, 2), keepdim=True) > 0.55, torch.nan, -10 * (x - 0.4))

    motion = Dynamics.uniform(dt_ps=0.3, diffusion_nm2_per_ps=1.0, n_beads=1)
    paths = straight((0.0, 0.0), (0.1, 0.0), 21)
    for method in ("lm", "lbfgs"):
        _, outcome = METHODS[method].minimize(TruncatedAction(AutogradScore(score), motion), paths)
        assert outcome.all_converged


@pytest.mark.parametrize("method", METHODS)
def test_a_guess_that_is_not_finite_is_refused(method):
    paths = straight((0.1, -0.1), (-0.2, 0.3), 11, paths=2)
    paths[1, 3, 0, 0] = torch.inf
    with pytest.raises(PathError, match="path 1 has a non-finite coordinate"):
        METHODS[method].minimize(harmonic(), paths)


@pytest.mark.parametrize("method", METHODS)
def test_finished_paths_leave_the_batch(method):
    sizes = []
    inner = harmonic()

    def score(x):
        sizes.append(len(x))
        return harmonic_score(x)

    action = TruncatedAction(AutogradScore(score), inner.dynamics)
    done = discrete_sinh((0.1, -0.1), (-0.2, 0.3), 10, 0.3)
    away = straight((0.1, -0.1), (-0.2, 0.3), 11)
    away[:, 1:-1] += 0.02 * torch.randn_like(away[:, 1:-1])
    reports = []
    _, outcome = METHODS[method].minimize(action, torch.cat([done[None], away]), on_step=reports.append)
    assert outcome.steps[0] < outcome.steps[1]
    assert sizes[-1] < sizes[-2] * 2
    assert max(sizes[-3:]) <= max(sizes) / 2  # one path where there were two
    assert reports[-1].active.tolist() == [False, False]
    assert [r.step for r in reports] == list(range(len(reports)))


def test_running_out_of_steps_is_said_with_a_remedy():
    _, outcome = Adam(learning_rate_nm=1e-4, max_steps=3).minimize(harmonic(), straight((0.1, -0.1), (-0.2, 0.3), 11))
    assert outcome.status == (Status.MAX_STEPS,)
    assert outcome.steps == (3,)
    assert outcome.remedy[0].startswith("not converged: max_steps reached with max |dS/dx| ")
    assert "Raise optimize.max_steps" in outcome.remedy[0]


def test_the_score_may_be_evaluated_in_float32():
    action = harmonic()
    single = TruncatedAction(ScoreInPrecision(action.score, torch.float32), action.dynamics)
    paths = straight((0.1, -0.1), (-0.2, 0.3), 11)
    convergence = Convergence(1e-6, 1e-3)
    found, outcome = LevenbergMarquardt(max_steps=50, convergence=convergence).minimize(single, paths)
    assert found.dtype == torch.float64
    assert outcome.all_converged
    # float32: score to 1e-7 relative, so dS/dx to 1e-4 per nm.
    torch.testing.assert_close(found[0], discrete_sinh((0.1, -0.1), (-0.2, 0.3), 10, 0.3), rtol=0, atol=1e-4)


def test_the_given_paths_are_not_written_to():
    paths = straight((0.1, -0.1), (-0.2, 0.3), 11)
    before = paths.clone()
    for method in (METHODS[name] for name in ("lm", "lbfgs", "sgd")):
        method.minimize(harmonic(), paths)
    assert torch.equal(paths, before)

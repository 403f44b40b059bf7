"""Continuing from a stored state gives, bit by bit, what the unbroken minimization gives."""

import math

import pytest
import torch
from safetensors.torch import load, save

from tpsctl.action import Dynamics, EulerMaruyamaAction, OnsagerMachlupAction, TruncatedAction
from tpsctl.action.divergence import HutchinsonDivergence
from tpsctl.errors import PathError
from tpsctl.optimize import LBFGS, SGD, Adam, Convergence, LevenbergMarquardt, Stage, String, run_stages
from tpsctl.prior.double_well import DoubleWellPrior

TIGHT = Convergence(action_tolerance=1e-6, gradient_tolerance_per_nm=0.1)
METHODS = {
    "lm": LevenbergMarquardt(max_steps=9, convergence=TIGHT),
    "lm_products": LevenbergMarquardt(max_steps=5, convergence=TIGHT, solver="products"),
    "lbfgs": LBFGS(max_steps=10, convergence=TIGHT),
    "adam": Adam(learning_rate_nm=2e-3, max_steps=10, convergence=TIGHT),
    "sgd": SGD(learning_rate_nm2=1e-6, max_steps=10, convergence=TIGHT),
    "string": String(max_steps=10, convergence=TIGHT),
    "string_plain": String(max_steps=10, convergence=TIGHT, preconditioned=False),
}


def action(kind=TruncatedAction, *extra):
    prior = DoubleWellPrior(temperature_k=300.0, barrier=20.0, half_distance_nm=0.2, stiffness=2000.0, n_dims=2)
    return kind(prior.at(0.0), Dynamics.uniform(dt_ps=2e-2, diffusion_nm2_per_ps=0.1, n_beads=1), *extra)


def bows(images=11):
    """Three paths, the last of which is near its minimum, so that it leaves the batch early."""
    bow = torch.sin(torch.linspace(0, math.pi, images))
    line = torch.linspace(-0.2, 0.2, images)
    paths = torch.stack([torch.stack([line, height * bow], 1) for height in (0.1, -0.05, 1e-4)]).unsqueeze(2)
    paths[:, -1, :, 1] = 0
    return paths


def on_disk(state):
    return load(save(state))


def same(first, second):
    (paths, outcome), (others, other) = first, second
    outcomes, rest = (outcome, other) if isinstance(outcome, tuple) else ((outcome,), (other,))
    assert torch.equal(paths, others)
    for one, two in zip(outcomes, rest, strict=True):
        assert (one.status, one.steps, one.remedy) == (two.status, two.steps, two.remedy)
        assert torch.equal(one.terms.total, two.terms.total)
        assert torch.equal(one.gradient_max, two.gradient_max)


@pytest.mark.parametrize("kind", [TruncatedAction, EulerMaruyamaAction])
@pytest.mark.parametrize("method", METHODS)
def test_cut_at_every_step_it_goes_on_as_if_it_had_not_been(kind, method):
    states, reports = [], []
    whole = METHODS[method].minimize(
        action(kind), bows(), on_step=reports.append, between_steps=lambda take: states.append(on_disk(take()))
    )
    assert len(states) == len(reports) > 3
    for cut, state in enumerate(states):
        later = []
        same(METHODS[method].minimize(action(kind), bows(), on_step=later.append, state=state), whole)
        assert [r.step for r in later] == list(range(cut + 1, len(reports)))
        assert all(torch.equal(a.terms.total, b.terms.total) for a, b in zip(later, reports[cut + 1 :], strict=True))


def test_random_probes_of_the_divergence_go_on_too():
    method = LBFGS(max_steps=10, convergence=TIGHT)
    states = []
    act = lambda: action(OnsagerMachlupAction, HutchinsonDivergence(probes=2, seed=4))  # noqa: E731
    whole = method.minimize(act(), bows(), between_steps=lambda take: states.append(take()))
    for state in states:
        same(method.minimize(act(), bows(), state=state), whole)


class Stop(Exception):
    pass


def test_the_caller_ends_a_minimization_by_raising():
    taken = []

    def stop(take):
        taken.append(take())
        if len(taken) == 3:
            raise Stop

    with pytest.raises(Stop):
        METHODS["lm"].minimize(action(), bows(), between_steps=stop)
    same(METHODS["lm"].minimize(action(), bows(), state=taken[-1]), METHODS["lm"].minimize(action(), bows()))


def test_a_state_is_not_changed_by_what_comes_after():
    states = []
    METHODS["lm"].minimize(action(), bows(), between_steps=lambda take: states.append((take(), take())))
    for one, other in states:
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) or one[name].isnan().any() for name in one)
    assert not torch.equal(states[0][0]["record.good"], states[-1][0]["record.good"])


def test_a_state_of_other_paths_is_refused():
    states = []
    METHODS["adam"].minimize(action(), bows(), between_steps=lambda take: states.append(take()))
    with pytest.raises(PathError, match=r"record.good is shape \(3, 11, 1, 2\), expected shape \(3, 13, 1, 2\)"):
        METHODS["adam"].minimize(action(), bows(13), state=states[0])


def test_stages_cut_at_every_step_go_on_as_if_they_had_not_been():
    stages = [
        Stage("1", LBFGS(max_steps=4, convergence=TIGHT), action(), 9),
        Stage("2", METHODS["lm"], action()),
        Stage("3", Adam(learning_rate_nm=1e-4, max_steps=5, convergence=Convergence(0.0, 0.0)), action(), 15),
    ]
    states, reports = [], []
    whole = run_stages(
        stages, bows(), on_step=reports.append, between_steps=lambda take: states.append(on_disk(take()))
    )
    assert {int(state["stage"]) for state in states} == {0, 1, 2}
    for cut, state in enumerate(states):
        later = []
        same(run_stages(stages, bows(), on_step=later.append, state=state), whole)
        assert [(r.stage, r.step) for r in later] == [(r.stage, r.step) for r in reports[cut + 1 :]]

"""Chignolin's published network: a run that is resumed after one of two paths has ended keeps every bit."""

import pytest
import torch

from tests.checkpoints.conftest import load_case
from tpsctl.action import Dynamics, ScoreInPrecision, TruncatedAction
from tpsctl.optimize import Adam, Convergence

IMAGES, NM_PER_ANGSTROM = 60, 0.1


@pytest.fixture
def two_threads():
    """Two lanes of chunks side by side."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_chignolin_with_one_path_ended_is_resumed_bit_by_bit(golden_folder, two_threads):
    case = load_case(golden_folder, "chignolin_diff")
    prior = case.prior(torch.float32)
    names = ("endpoint1_angstrom", "endpoint2_kabsch_angstrom")
    ends = [NM_PER_ANGSTROM * case.positions(1.0, name)[0] for name in names]
    s = torch.linspace(0, 1, IMAGES).view(-1, 1, 1)
    paths = ((1 - s) * ends[0] + s * ends[1]).repeat(2, 1, 1, 1)
    paths[:, 1:-1] += 0.01 * torch.randn_like(paths[:, 1:-1])
    dynamics = Dynamics.langevin(dt_ps=0.001, masses_amu=[12.0] * 10, friction_per_ps=1.0, temperature_k=340.0)

    def action():
        return TruncatedAction(ScoreInPrecision(prior.at(0.02), torch.float32), dynamics)

    slopes = action().value_and_gradient(paths)[1].flatten(1).abs().amax(1)
    between = slopes.mean().item()
    assert slopes.min() < 0.999 * between, "one path is to end at once, the other is not"
    optimizer = Adam(learning_rate_nm=1e-7, max_steps=4, convergence=Convergence(1e9, between, window=1))
    states = []
    found, outcome = optimizer.minimize(action(), paths, between_steps=lambda take: states.append(take()))
    assert min(outcome.steps) < max(outcome.steps)
    for state in states:
        again, its_outcome = optimizer.minimize(action(), paths, state=state)
        assert torch.equal(again, found)
        assert torch.equal(its_outcome.terms.total, outcome.terms.total)

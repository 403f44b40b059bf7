"""Networks are worked on in chunks of images: what is in a chunk must not depend on when a run was interrupted.

float32 rounds by what is beside what, so a path that goes on with other chunks than before ends elsewhere in its last
digits. Here one of two paths ends early, and the run is continued from every step after.
"""

import pytest
import torch

from tpsctl.action import Dynamics, ScoreInPrecision, TruncatedAction
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.optimize import Adam, Convergence, LevenbergMarquardt
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import noise_prior
from tpsctl.score.levels import Levels, cosine_tables

BEADS, IMAGES = 10, 60


@pytest.fixture
def two_threads():
    """Two lanes of chunks side by side."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def problem():
    torch.manual_seed(0)
    network = GraphTransformer(GraphTransformerSizes(BEADS, 0, 64, 3, 8, 64, False, True, False, 1))
    field = GraphTransformerField(network, Beads(torch.arange(BEADS)))
    prior = noise_prior(field, Levels(cosine_tables(1000)), scale_nm=(0.5,)).to(device="cpu", dtype=torch.float32)
    dynamics = Dynamics.langevin(dt_ps=0.001, masses_amu=[12.0] * BEADS, friction_per_ps=1.0, temperature_k=340.0)
    ends = 0.3 * torch.randn(2, BEADS, 3)
    s = torch.linspace(0, 1, IMAGES).view(-1, 1, 1)
    paths = ((1 - s) * ends[0] + s * ends[1]).repeat(2, 1, 1, 1)
    paths[1, 1:-1] += 0.01 * torch.randn_like(paths[1, 1:-1])
    return lambda: TruncatedAction(ScoreInPrecision(prior.at(0.02), torch.float32), dynamics), paths


@pytest.mark.parametrize("method", ["adam", "lm"])
def test_resumed_after_one_path_has_ended_the_bits_are_those_of_the_unbroken_run(two_threads, method):
    action, paths = problem()
    slopes = action().value_and_gradient(paths)[1].flatten(1).abs().amax(1)
    assert slopes[0] < 0.9 * slopes[1], "the straight path is to end at once, the other is not"
    ends_the_first = Convergence(1e9, 0.95 * slopes[1].item(), window=1)
    optimizer = {
        "adam": Adam(learning_rate_nm=1e-6, max_steps=3, convergence=ends_the_first),
        "lm": LevenbergMarquardt(
            max_steps=2, convergence=Convergence(1e9, 1.05 * slopes[0].item(), 1), solver="products"
        ),
    }[method]
    states = []
    found, outcome = optimizer.minimize(action(), paths, between_steps=lambda take: states.append(take()))
    assert outcome.steps[0] < outcome.steps[1]
    for state in states:
        again, its_outcome = optimizer.minimize(action(), paths, state=state)
        assert torch.equal(again, found)
        assert torch.equal(its_outcome.terms.total, outcome.terms.total)

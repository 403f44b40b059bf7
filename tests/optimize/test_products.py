"""The matrix-free solver at the size of a fast folder: chignolin's published network with random weights."""

import pytest
import torch

from tpsctl.action import Dynamics, ScoreInPrecision, TruncatedAction
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes
from tpsctl.optimize import Convergence, LevenbergMarquardt
from tpsctl.optimize.gauss_newton import BlockSystem, ProductSystem
from tpsctl.prior.fields.graph_transformer import GraphTransformerField
from tpsctl.prior.network import noise_prior
from tpsctl.score.levels import Levels, cosine_tables

BEADS, IMAGES = 10, 12


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    network = GraphTransformer(GraphTransformerSizes(BEADS, 0, 64, 3, 8, 64, False, True, False, 1))
    field = GraphTransformerField(network, Beads(torch.arange(BEADS)))
    prior = noise_prior(field, Levels(cosine_tables(1000)), scale_nm=(0.5,))
    prior.to(device="cpu", dtype=torch.float32)
    dynamics = Dynamics.langevin(dt_ps=0.05, masses_amu=[12.0] * BEADS, friction_per_ps=1.0, temperature_k=340.0)
    ends = 0.3 * torch.randn(2, BEADS, 3, dtype=torch.float64)
    s = torch.linspace(0, 1, IMAGES, dtype=torch.float64).view(-1, 1, 1)
    path = (1 - s) * ends[0] + s * ends[1]
    path[1:-1] += 0.02 * torch.randn_like(path[1:-1])
    return TruncatedAction(ScoreInPrecision(prior.at(0.02), torch.float32), dynamics), path[None]


def test_products_solve_what_blocks_solve(problem):
    action, paths = problem
    index, damping = torch.arange(1), torch.tensor([0.1], dtype=torch.float64)
    b = torch.randn(1, IMAGES - 2, 3 * BEADS, dtype=torch.float64)
    found = []
    for system in (BlockSystem(action, paths), ProductSystem(action, paths, tolerance=1e-5, max_products=500)):
        system.refresh(index, paths)
        system.damp(index, damping)
        found.append(system.solve(index, b))
    # Products and Jacobians of the score are float32, 1e-6 relative at best, times the condition of the system.
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-3 * found[0].abs().max().item())


def test_a_few_matrix_free_steps_go_as_far_as_block_steps(problem):
    action, paths = problem
    before, after = action.terms(paths).total.item(), []
    for solver in ("block", "products"):
        optimizer = LevenbergMarquardt(max_steps=4, solver=solver, convergence=Convergence(1e-9, 1e-9))
        _, outcome = optimizer.minimize(action, paths)
        after.append(outcome.terms.total.item())
    assert after[0] < before
    assert before - after[1] == pytest.approx(before - after[0], rel=0.05)

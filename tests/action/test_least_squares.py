"""Blocks and products of the Gauss-Newton matrix against the Jacobian of the residuals themselves."""

import pytest
import torch

from tpsctl.action import Dynamics, EulerMaruyamaAction, TruncatedAction
from tpsctl.optimize.gauss_newton import BlockSystem, ProductSystem
from tpsctl.optimize.scaling import Scaling, laplacian_inverse
from tpsctl.score.base import AutogradScore

ACTIONS = [TruncatedAction, EulerMaruyamaAction]


def score_fn(x):
    return torch.sin(x.roll(1, dims=-1)) * x.sum(1, keepdim=True) - x


def setup(kind, images=6):
    motion = Dynamics(0.4, torch.tensor([0.3, 1.1]))
    return kind(AutogradScore(score_fn, conservative=False), motion), torch.randn(2, images, 2, 2)


def residuals(kind, motion, z, ends):
    """Residuals times sqrt(2 dt) of one path, from its interior images in scaled coordinates."""
    root = motion.diffusion.sqrt().view(1, -1, 1)
    inner = z.view(-1, *ends.shape[1:]) * root
    path = torch.cat([ends[:1], inner, ends[1:]])
    drift = motion.dt_ps * root * score_fn(path[:-1])
    step = path.diff(dim=0) / root
    return torch.cat([step.flatten(), drift.flatten()]) if kind is TruncatedAction else (step - drift).flatten()


def dense(kind, action, path):
    root = action.dynamics.diffusion.sqrt().view(1, -1, 1)
    z = (path[1:-1] / root).flatten()
    j = torch.func.jacrev(lambda y: residuals(kind, action.dynamics, y, path[[0, -1]]))(z)
    return j.T @ j


@pytest.mark.parametrize("kind", ACTIONS)
def test_value_is_half_the_squares(kind):
    action, paths = setup(kind)
    z = (paths[0, 1:-1] / action.dynamics.diffusion.sqrt().view(1, -1, 1)).flatten()
    half = residuals(kind, action.dynamics, z, paths[0, [0, -1]]).square().sum() / 2
    torch.testing.assert_close(action.terms(paths).total[0] * 2 * action.dynamics.dt_ps, half)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("system", [BlockSystem, ProductSystem])
def test_solution_is_that_of_the_dense_system(kind, system):
    action, paths = setup(kind)
    solver = system(action, paths) if system is BlockSystem else system(action, paths, tolerance=1e-12)
    index, damping = torch.arange(2), torch.tensor([0.1, 2.0])
    solver.refresh(index, paths)
    solver.damp(index, damping)
    b = torch.randn(2, 4, 4)
    x = solver.solve(index, b)
    for k in range(2):
        matrix = dense(kind, action, paths[k]) + damping[k] * torch.eye(16)
        torch.testing.assert_close(x[k].flatten(), torch.linalg.solve(matrix, b[k].flatten()), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(solver.solve(index[k : k + 1], b[k : k + 1])[0], x[k], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("images", [3, 4])
def test_shortest_paths_solve_too(kind, images):
    action, paths = setup(kind, images)
    solver, index = BlockSystem(action, paths), torch.arange(2)
    solver.refresh(index, paths)
    solver.damp(index, torch.zeros(2))
    b = torch.randn(2, images - 2, 4)
    expected = torch.linalg.solve(dense(kind, action, paths[1]), b[1].flatten())
    torch.testing.assert_close(solver.solve(index, b)[1].flatten(), expected)


@pytest.mark.parametrize("kind", ACTIONS)
def test_both_systems_bend_alike(kind):
    action, paths = setup(kind)
    index, step = torch.arange(2), 0.1 * torch.randn(2, 4, 4)
    ahead = Scaling(action.dynamics, paths).moved(paths, step)
    bends = []
    for solver in (BlockSystem(action, paths), ProductSystem(action, paths, tolerance=1e-12)):
        solver.refresh(index, paths)
        bends.append(solver.bend(index, ahead, step))
    # The products' bend couples neighboring images by 1 of the bend's damping of 100.
    torch.testing.assert_close(bends[0], bends[1], rtol=0.05, atol=0.02 * bends[1].abs().max().item())


def test_inverse_of_the_path_laplacian():
    m = 7
    laplacian = 2 * torch.eye(m) - torch.diag(torch.ones(m - 1), 1) - torch.diag(torch.ones(m - 1), -1)
    torch.testing.assert_close(laplacian_inverse(m, laplacian) @ laplacian, torch.eye(m))

"""Newton systems: blocks against the Hessian of the action itself, and what they are for."""

import pytest
import torch

from tpsctl.action import Dynamics, EulerMaruyamaAction, TruncatedAction
from tpsctl.optimize import Convergence, LevenbergMarquardt
from tpsctl.optimize.newton import NewtonSystem, newton_blocks
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.score.base import AutogradScore
from tpsctl.units import BOLTZMANN

ACTIONS = [TruncatedAction, EulerMaruyamaAction]


def mueller_brown(kind, images=8, paths=2):
    prior = MuellerBrownPrior(temperature_k=0.2 * 0.1 / BOLTZMANN)
    action = kind(prior.at(0.0), Dynamics.uniform(dt_ps=0.1, diffusion_nm2_per_ps=0.2, n_beads=1))
    s = torch.linspace(0, 1, images, dtype=torch.float64).view(-1, 1, 1)
    ends = torch.tensor([[[23.0, 30.0]], [[40.0, 9.0]]], dtype=torch.float64)
    x = ((1 - s) * ends[0] + s * ends[1]).repeat(paths, 1, 1, 1)
    x[:, 1:-1] += 0.5 * torch.randn_like(x[:, 1:-1])
    return prior, action, x


def score_of(prior):
    """-grad U / kT of the surface's energy, as a function that autograd can follow."""

    def score(x):
        with torch.enable_grad():
            y = x if x.requires_grad else x.detach().requires_grad_(True)
            return -torch.autograd.grad(prior.energy(y).sum(), y, create_graph=True)[0] / (0.2 * 0.1)  # kT, kJ/mol

    return score


@pytest.mark.parametrize("kind", ACTIONS)
def test_blocks_are_second_derivatives_of_the_action(kind):
    prior, action, paths = mueller_brown(kind)
    diagonal, upper = newton_blocks(action, paths)
    dt, d = 0.1, 0.2

    def scaled_action(z):  # 2 dt S of path 1, by the formula
        x = torch.cat([paths[1, :1], (z * d**0.5).view(-1, 1, 2), paths[1, -1:]])
        drift = dt * d * score_of(prior)(x[:-1])
        residuals = [x.diff(dim=0), drift] if kind is TruncatedAction else [x.diff(dim=0) - drift]
        return 2 * dt * sum(r.square().sum() for r in residuals) / (4 * d * dt)

    z = (paths[1, 1:-1] / d**0.5).flatten()
    exact = torch.autograd.functional.hessian(scaled_action, z).view(6, 2, 6, 2)
    size = exact.abs().max().item()
    for i in range(6):
        # Central differences over 1e-4 of a gap: relative error 1e-8, rounding about as much.
        torch.testing.assert_close(diagonal[1, i], exact[i, :, i], rtol=0, atol=1e-6 * size)
        if i < 5:
            torch.testing.assert_close(upper[1, i], exact[i, :, i + 1], rtol=0, atol=1e-6 * size)


def test_closed_form_derivatives_are_those_of_the_energy():
    prior, _, paths = mueller_brown(TruncatedAction)
    x, exact, ours = paths[0], AutogradScore(score_of(prior)), prior.at(0.0)
    v = torch.randn_like(x)
    torch.testing.assert_close(ours(x), exact(x))
    torch.testing.assert_close(ours.jacobian(x), exact.jacobian(x))
    torch.testing.assert_close(ours.with_vjp(x)[1](v), exact.with_vjp(x)[1](v))
    torch.testing.assert_close(ours.jvp(x, v), exact.jvp(x, v))


def test_second_derivatives_save_most_steps_on_a_curved_surface():
    _, action, paths = mueller_brown(TruncatedAction, images=50, paths=1)
    tight = Convergence(1e-6, 1e-2)
    newton, by_newton = LevenbergMarquardt(max_steps=200, convergence=tight).minimize(action, paths)
    blocks = LevenbergMarquardt(max_steps=200, convergence=tight, solver="block")
    gauss_newton, by_blocks = blocks.minimize(action, paths)
    assert by_newton.all_converged
    assert by_newton.steps[0] <= 40  # Gauss-Newton took 92 from the straight line
    assert by_blocks.terms.total.item() == pytest.approx(by_newton.terms.total.item(), rel=1e-6)
    torch.testing.assert_close(newton, gauss_newton, rtol=0, atol=0.05)


def test_only_small_problems_are_done_this_way():
    assert NewtonSystem.fits(torch.zeros(3, 50, 1, 2))
    assert not NewtonSystem.fits(torch.zeros(3, 50, 22, 3))

"""The action in a time-dependent field: the identity with the residual of Action Matching, limits and derivatives."""

import numpy as np
import pytest
import torch

from tpsctl.action import Dynamics, OnsagerMachlupAction, TransportAction
from tpsctl.action.divergence import ExactDivergence
from tpsctl.action.transport import boundary_terms
from tpsctl.errors import TpsctlError
from tpsctl.score.base import AutogradScore
from tpsctl.score.hamilton_jacobi import hjb_residual

DIFFUSION, START, DURATION = 0.3, 0.2, 1.5


def moving(x, t):
    """A potential without symmetry, in space and time."""
    flat = x.flatten(1)
    return torch.sin(flat[:, 0] + 2 * t) * flat[:, 1].cos() - t * flat.square().sum(1).square() / 20 + flat[:, 1] * t**2


def curve(t):
    """A smooth path of one bead in two dimensions (time, 1, 2), and its velocity."""
    x = torch.stack((t.sin() + t**2 / 3, (2 * t).cos() - t), dim=-1)
    velocity = torch.stack((t.cos() + 2 * t / 3, -2 * (2 * t).sin() - 1), dim=-1)
    return x.unsqueeze(1), velocity.unsqueeze(1)


def quadrature():
    nodes, weights = (torch.tensor(a) for a in np.polynomial.legendre.leggauss(60))
    return START + DURATION * (nodes + 1) / 2, weights * DURATION / 2


def test_the_onsager_machlup_action_is_the_kinetic_term_plus_the_residual():
    """Both sides by Gauss-Legendre quadrature, whose error for these functions is below rounding."""
    t, weights = quadrature()
    x, velocity = curve(t)
    found = hjb_residual(moving, x, t, noise=(2 * DIFFUSION) ** 0.5)
    gradient = found.gradient.detach()
    laplacian = (found.residual - hjb_residual(moving, x, t).residual).detach() / DIFFUSION
    direct = (velocity - gradient).square().sum((1, 2)) / (4 * DIFFUSION) + laplacian / 2
    shared = velocity.square().sum((1, 2)) / (4 * DIFFUSION) + found.residual.detach() / (2 * DIFFUSION)
    ends = curve(torch.tensor([START, START + DURATION]))[0].unsqueeze(0)
    boundary = boundary_terms(moving, ends, start_ps=START, duration_ps=DURATION, diffusion=DIFFUSION)
    left, right = float((weights * direct).sum()), float((weights * shared).sum() + boundary)
    assert left == pytest.approx(right, abs=1e-9)
    assert abs(left) > 1, "the identity is not one of zeros"


def action(images, diffusion=DIFFUSION):
    motion = Dynamics.uniform(dt_ps=DURATION / (images - 1), diffusion_nm2_per_ps=diffusion, n_beads=1)
    return TransportAction(moving, motion, start_ps=START)


def path(images):
    return curve(torch.linspace(START, START + DURATION, images))[0].unsqueeze(0)


def test_its_sum_tends_to_the_integral_with_the_step():
    t, weights = quadrature()
    x, velocity = curve(t)
    residual = hjb_residual(moving, x, t, noise=(2 * DIFFUSION) ** 0.5).residual.detach()
    exact = float((weights * (velocity.square().sum((1, 2)) / 2 + residual)).sum()) / (2 * DIFFUSION)
    errors = [float(action(images).terms(path(images)).total) - exact for images in (101, 201, 401)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_in_a_field_at_rest_it_is_the_onsager_machlup_action(generator):
    """b = grad s = D score, so that s = D log p: then nothing but the values at the ends tells them apart."""
    log_p = lambda x: -x.square().sum((1, 2)).square() / 4  # noqa: E731
    score = AutogradScore(lambda x: -x * x.square().sum((1, 2), keepdim=True))
    motion = Dynamics.uniform(dt_ps=0.05, diffusion_nm2_per_ps=DIFFUSION, n_beads=2)
    paths = torch.randn(3, 6, 2, 2, generator=generator)
    ours = TransportAction(lambda x, t: DIFFUSION * log_p(x), motion).terms(paths)
    theirs = OnsagerMachlupAction(score, motion, ExactDivergence()).terms(paths)
    for term in ("kinetic", "drift", "divergence"):
        torch.testing.assert_close(getattr(ours, term), getattr(theirs, term), rtol=1e-12, atol=1e-12)
    assert torch.equal(ours.cross.abs() < 1e-12, torch.ones(3, dtype=torch.bool))


def test_the_gradient_is_that_of_the_value(generator):
    paths = path(7) + 0.1 * torch.randn(2, 7, 1, 2, generator=generator)
    ours = action(7)
    _, gradient = ours.value_and_gradient(paths)
    direction = torch.randn(paths.shape, generator=generator)
    direction[:, 0], direction[:, -1] = 0, 0
    step = 1e-6 * direction
    slope = (ours.terms(paths + step).total - ours.terms(paths - step).total) / 2e-6
    torch.testing.assert_close(slope, (gradient * direction).sum((1, 2, 3)), rtol=1e-7, atol=1e-7)  # step^2, rounding
    assert float(gradient[:, 0].abs().max()) == 0.0


def test_beads_of_different_diffusion_are_refused():
    motion = Dynamics(0.1, torch.tensor([1.0, 2.0]))
    with pytest.raises(TpsctlError, match="one diffusion coefficient for all beads"):
        TransportAction(moving, motion)


def test_growth_takes_the_logarithm_of_the_weight_off_the_action():
    """-log of the density of a path times its weight, exp of the integral of g s, by quadrature; the sum is O(dt)."""
    growth = 0.7
    t, weights = quadrature()
    x, _ = curve(t)
    expected = -growth * float((weights * moving(x, t)).sum())
    motion = {
        n: Dynamics.uniform(dt_ps=DURATION / (n - 1), diffusion_nm2_per_ps=DIFFUSION, n_beads=1) for n in (101, 201)
    }
    errors = []
    for images, dynamics in motion.items():
        grown = TransportAction(moving, dynamics, start_ps=START, growth_per_nm2=growth).terms(path(images))
        plain = action(images).terms(path(images))
        errors.append(float(grown.total - plain.total) - expected)
        for same in ("kinetic", "drift", "divergence"):
            assert torch.equal(getattr(grown, same), getattr(plain, same))
    assert abs(expected) > 0.1
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_a_path_of_two_steps_has_the_density_of_its_weighted_steps():
    """In a field that is linear in x the steps of Euler-Maruyama and their weights give the change of the action.

    s = a.x, so that r has no divergence: the action and the sum over steps of |dx - a dt|^2 / 4D dt - g s dt differ by
    what the ends fix, which is the same for both paths.
    """
    a, growth, dt = torch.tensor([0.4, -0.9]), 2.5, 0.25
    field = lambda x, t: x.flatten(1) @ a  # noqa: E731
    motion = Dynamics.uniform(dt_ps=dt, diffusion_nm2_per_ps=DIFFUSION, n_beads=1)
    paths = torch.tensor([[[0.0, 0.0], [0.5, 0.2], [1.0, 1.0]], [[0.0, 0.0], [-0.3, 0.8], [1.0, 1.0]]]).unsqueeze(2)
    found = TransportAction(field, motion, growth_per_nm2=growth).terms(paths).total
    steps = paths.diff(dim=1) - a * dt
    by_steps = steps.square().sum((2, 3)) / (4 * DIFFUSION * dt) - growth * dt * (paths[:, :-1, 0] @ a)
    expected = by_steps.sum(1)
    assert float(found[1] - found[0]) == pytest.approx(float(expected[1] - expected[0]), rel=1e-12)


def test_the_gradient_of_an_action_with_growth_is_that_of_the_value(generator):
    paths = path(7) + 0.1 * torch.randn(2, 7, 1, 2, generator=generator)
    motion = Dynamics.uniform(dt_ps=DURATION / 6, diffusion_nm2_per_ps=DIFFUSION, n_beads=1)
    ours = TransportAction(moving, motion, start_ps=START, growth_per_nm2=3.0)
    _, gradient = ours.value_and_gradient(paths)
    direction = torch.randn(paths.shape, generator=generator)
    direction[:, 0], direction[:, -1] = 0, 0
    step = 1e-6 * direction
    slope = (ours.terms(paths + step).total - ours.terms(paths - step).total) / 2e-6
    torch.testing.assert_close(slope, (gradient * direction).sum((1, 2, 3)), rtol=1e-7, atol=1e-7)  # step^2, rounding

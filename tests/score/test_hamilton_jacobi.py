"""The Hamilton-Jacobi residual and the score of a pair, against closed forms."""

import torch

from tests.training.objectives.action_matching.gaussian import NOISE, MovingGaussian
from tpsctl.score.hamilton_jacobi import hjb_residual, potential_gradient, score_from_pair


def quartic(x, t):
    """s = t |x|^4 / 4 + x_1: gradient t |x|^2 x + e_1, Laplacian (n + 2) t |x|^2."""
    return t * x.square().flatten(1).sum(1).square() / 4 + x.flatten(1)[:, 0]


def test_every_term_of_a_polynomial(generator):
    x, t = torch.randn(5, 2, 3, generator=generator), torch.rand(5, generator=generator)
    squared = x.square().sum((1, 2))
    expected_gradient = t.view(-1, 1, 1) * squared.view(-1, 1, 1) * x
    expected_gradient[:, 0, 0] += 1
    kinetic = expected_gradient.square().sum((1, 2)) / 2
    found = hjb_residual(quartic, x, t, noise=0.7, growth=1.0)
    expected = squared.square() / 4 + kinetic + 0.7**2 / 2 * 8 * t * squared + quartic(x, t).square() / 2
    torch.testing.assert_close(found.residual.detach(), expected, rtol=1e-12, atol=1e-12)  # rounding
    torch.testing.assert_close(found.gradient.detach(), expected_gradient, rtol=1e-12, atol=1e-12)
    value, gradient = potential_gradient(quartic, x, t)
    torch.testing.assert_close(value, quartic(x, t))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)


def test_random_signs_estimate_the_laplacian(generator):
    """All sign vectors of three coordinates average to the exact trace; one of them is exact for a diagonal Hessian."""
    x, t = torch.randn(4, 3, generator=generator), torch.rand(4, generator=generator)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).unsqueeze(1).expand(8, 4, 3)
    exact = hjb_residual(quartic, x, t, noise=1.0).residual
    torch.testing.assert_close(hjb_residual(quartic, x, t, noise=1.0, probes=signs).residual, exact)
    separable = lambda x, t: (x**3).sum(1) * t  # noqa: E731
    one = hjb_residual(separable, x, t, noise=1.0, probes=signs[:1]).residual
    torch.testing.assert_close(one, hjb_residual(separable, x, t, noise=1.0).residual)


def test_a_linear_potential_has_no_laplacian():
    found = hjb_residual(lambda x, t: 2 * x.sum(1), torch.ones(2, 3), torch.zeros(2), noise=1.0)
    torch.testing.assert_close(found.residual.detach(), torch.full((2,), 6.0))


def test_it_can_be_differentiated_by_positions(generator):
    x = torch.randn(3, 2, generator=generator, requires_grad=True)
    t = torch.rand(3, generator=generator)
    assert torch.autograd.gradcheck(lambda x: hjb_residual(quartic, x, t, noise=0.3).residual, (x,))


def test_two_potentials_of_the_same_marginals_give_the_score(generator):
    """For N(m, sigma^2), 2 (grad s_c - grad s_0) / c^2 = -(x - m) / sigma^2."""
    q = MovingGaussian(0.5, 1.0, 1.3, dims=2)
    x, t = torch.randn(6, 2, generator=generator), torch.rand(6, generator=generator)
    pair = [potential_gradient(s, x, t)[1] for s in (q.entropic, q.plain)]
    expected = -(x - q.mu * t.unsqueeze(-1)) / q.width(t).square().unsqueeze(-1)
    torch.testing.assert_close(score_from_pair(*pair, NOISE), expected, rtol=1e-12, atol=1e-12)

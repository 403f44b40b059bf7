"""L-BFGS: exact on quadratic functions in a few steps, downhill on a curved valley."""

import torch

from tpsctl.guess.quasi_newton import minimized


def test_a_quadratic_function_is_solved():
    curvature = torch.diag(torch.linspace(0.5, 2, 8))
    target = torch.arange(8.0)
    found = minimized(
        lambda z: ((z - target) @ curvature @ (z - target) / 2, curvature @ (z - target)), torch.zeros(8), max_steps=30
    )
    torch.testing.assert_close(found, target, rtol=0, atol=1e-6 / 0.5)  # derivatives below 1e-6, least curvature 0.5


def test_a_curved_valley_is_followed_to_its_end():
    def rosenbrock(z):
        x, y = z
        gradient = torch.stack([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2, gradient

    found = minimized(rosenbrock, torch.tensor([-1.2, 1.0]), max_steps=200)
    torch.testing.assert_close(found, torch.ones(2), rtol=0, atol=1e-5)  # least curvature at the minimum is 0.4


def test_it_stops_where_nothing_goes_down():
    start = torch.ones(3)
    wrong = minimized(lambda z: (z.sum(), -torch.ones(3)), start, max_steps=5)  # a gradient of the wrong sign
    assert torch.equal(wrong, start)

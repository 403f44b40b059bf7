"""Images at equal distances along a curve."""

import torch

from tpsctl.molecule.curves import gaps, respaced, tangents

ROOT = torch.tensor([[1.0], [3.0]])


def test_images_on_a_straight_line_become_equally_spaced():
    x = torch.linspace(0, 1, 9).pow(2).view(1, -1, 1, 1) * torch.randn(2, 3)
    found = respaced(x, ROOT)
    distances = gaps(found * ROOT)
    torch.testing.assert_close(distances, distances.mean().expand_as(distances))
    assert torch.equal(found[:, [0, -1]], x[:, [0, -1]])


def test_equally_spaced_images_stay_where_they_are():
    x = torch.linspace(0, 1, 9).view(1, -1, 1, 1) * torch.randn(2, 3)
    torch.testing.assert_close(respaced(x, ROOT), x)


def test_the_derivative_is_right():
    x = torch.randn(1, 5, 2, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: respaced(x, ROOT), (x,))


def test_tangents_of_a_circle_are_perpendicular_to_its_radius():
    angle = torch.linspace(0, 3, 20)
    x = torch.stack((angle.cos(), angle.sin()), 1).view(1, 20, 1, 2)
    inner = slice(1, -1)
    along = (tangents(x)[0, inner] * x[0, inner, 0]).sum(1)
    torch.testing.assert_close(along, torch.zeros_like(along))

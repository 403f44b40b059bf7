"""Rigid motions as directions, and their even distribution along a curve."""

import math

import pytest
import torch

from tpsctl.molecule.rigid_motions import coordinates, rigid_motions, turned_evenly

MASSES = torch.tensor([12.0, 1.0, 16.0, 1.0, 14.0])


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def shapes(images=8):
    """A curve whose shape changes a little from image to image."""
    base, change = torch.randn(5, 3), 0.05 * torch.randn(5, 3)
    return (base + torch.linspace(0, 1, images).view(-1, 1, 1) * change).unsqueeze(0)


def test_shapes_and_ends_stay_when_rotation_is_spread():
    x = shapes()
    x[:, 3] = x[:, 3] @ turn(20.0).T + 0.1
    found = turned_evenly(x, MASSES)
    torch.testing.assert_close(torch.cdist(found, found), torch.cdist(x, x))
    assert torch.equal(found[:, [0, -1]], x[:, [0, -1]])


@pytest.mark.parametrize("degrees", [5.0, 60.0])
def test_a_rotation_in_the_last_step_ends_up_in_equal_parts(degrees):
    """One rigid shape, turned as a whole between the last two images: each step then turns it by the same angle."""
    base = torch.randn(5, 3)
    base -= (MASSES.unsqueeze(1) * base).sum(0) / MASSES.sum()
    x = base.repeat(8, 1, 1).unsqueeze(0).clone()
    x[0, -1] = base @ turn(degrees).T
    for _ in range(20):
        x = turned_evenly(x, MASSES)
    expected = torch.stack([base @ turn(degrees * k / 7).T for k in range(8)])
    torch.testing.assert_close(x[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("linear", [False, True])
def test_coordinates_reproduce_a_rigid_displacement(linear):
    """Also of a linear molecule, about whose axis nothing turns; the ridge of 1e-10 costs as much."""
    x = torch.randn(1, 4, 3)
    if linear:
        x = torch.arange(4.0).view(1, 4, 1) * torch.tensor([1.0, 2.0, 3.0])
    motions = rigid_motions(x)
    v = (motions @ torch.randn(6)).squeeze(0)
    torch.testing.assert_close(motions[0] @ coordinates(motions, v.unsqueeze(0))[0], v, rtol=1e-7, atol=1e-8)

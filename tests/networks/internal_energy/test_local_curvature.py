"""Closed-form blocks of the Hessian against autograd."""

import math

import pytest
import torch

from tpsctl.networks.internal_energy.coordinates import SOFT_LENGTH_SQUARED_NM2
from tpsctl.networks.internal_energy.local_curvature import (
    angle_blocks,
    distance_blocks,
    handedness_blocks,
    torsion_blocks,
)

SOFT_NM4 = torch.tensor([[1e-8], [1e-5]], dtype=torch.float64)
"""Nothing but the floor, and more than a tenth of the squared normals below."""


def test_distance_blocks_are_second_derivatives():
    v = torch.randn(2, 5, 1, 3, dtype=torch.float64)
    r = v[:, :, 0].norm(dim=-1)
    blocks = distance_blocks(v, r, 3 * r.square(), 6 * r)  # e = r^3
    for b in range(2):
        for i in range(5):
            exact = torch.func.hessian(lambda u: u.norm() ** 3)(v[b, i, 0])
            torch.testing.assert_close(blocks[b, i, 0, :, 0], exact)


def test_handedness_blocks_are_second_derivatives():
    v = 0.2 * torch.randn(2, 4, 3, 3, dtype=torch.float64)
    weight = torch.randn(2, 4, dtype=torch.float64)

    def handedness(u):
        a, b, c = u.unbind(0)
        return a.dot(torch.linalg.cross(b, c)) / (u.square().sum(-1) + SOFT_LENGTH_SQUARED_NM2).prod().sqrt()

    blocks = handedness_blocks(v, weight)
    for b in range(2):
        for i in range(4):
            exact = weight[b, i] * torch.func.hessian(handedness)(v[b, i])
            torch.testing.assert_close(blocks[b, i], exact, rtol=1e-10, atol=1e-9)


def bent(a, b, soft):
    """The angle between two vectors."""
    sine = (a.square().sum() * b.square().sum() - a.dot(b).square() + soft).sqrt()
    return torch.atan2(sine, a.dot(b))


def turned(b0, b1, b2, soft):
    """Cosine and sine of the torsion along three vectors."""
    n0, n1 = torch.linalg.cross(b0, b1), torch.linalg.cross(b1, b2)
    norm = ((n0.square().sum() + soft) * (n1.square().sum() + soft)).sqrt()
    return n0.dot(n1) / norm, b1.norm() * b0.dot(n1) / norm


def assert_blocks(blocks, energy, v):
    """Relative to the largest entry: terms up to 10^3 times larger cancel, which leaves 13 of 16 digits."""
    for b in range(2):
        for i in range(4):
            exact = torch.func.hessian(lambda u, b=b: energy(u, SOFT_NM4[b, 0]))(v[b, i])
            torch.testing.assert_close(blocks[b, i], exact, rtol=0, atol=1e-12 * exact.abs().max().item())


def test_angle_blocks_are_second_derivatives():
    v = 0.1 * torch.randn(2, 4, 2, 3, dtype=torch.float64)
    angle = torch.stack([torch.stack([bent(*v[b, i], SOFT_NM4[b, 0]) for i in range(4)]) for b in range(2)])
    blocks = angle_blocks(v, SOFT_NM4, 3 * angle.square(), 6 * angle)  # e = angle^3
    assert_blocks(blocks, lambda u, soft: bent(*u, soft) ** 3, v)


def test_torsion_blocks_are_second_derivatives():
    v = 0.1 * torch.randn(2, 4, 3, 3, dtype=torch.float64)
    values = [[turned(*v[b, i], SOFT_NM4[b, 0]) for i in range(4)] for b in range(2)]
    cos, sin = (torch.tensor([[value[k] for value in row] for row in values]) for k in range(2))
    # e = 2 cos^3 + cos^2 sin - 3 sin^2
    once = 6 * cos.square() + 2 * cos * sin, cos.square() - 6 * sin
    twice = 12 * cos + 2 * sin, 2 * cos, torch.full_like(cos, -6.0)

    def energy(u, soft):
        c, s = turned(*u, soft)
        return 2 * c**3 + c**2 * s - 3 * s**2

    assert_blocks(torsion_blocks(v, SOFT_NM4, once, twice), energy, v)


@pytest.mark.parametrize("angle", [0.05, 3.09])
def test_angle_blocks_hold_near_a_straight_line(angle):
    a = torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
    b = 0.15 * torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=torch.float64)
    v = torch.stack((a, b)).expand(2, 4, 2, 3)
    one, none = torch.ones(2, 4, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    assert_blocks(angle_blocks(v, SOFT_NM4, one, none), lambda u, soft: bent(*u, soft), v)

"""Closed-form blocks of the Hessian against autograd."""

import torch

from tpsctl.prior.network.internal_coordinates import SOFT_LENGTH_SQUARED_NM2
from tpsctl.prior.network.local_curvature import distance_blocks, handedness_blocks


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

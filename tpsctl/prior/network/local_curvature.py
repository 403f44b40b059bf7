"""Second derivatives of energies that are sums over distances and handednesses, in closed form.

A distance r = |v| with energy e(r), unit vector u = v / r:

    d^2 e / dv^2 = e'' u u^T + (e' / r) (1 - u u^T)

A handedness h = P det(u_1, u_2, u_3), P = prod_k p_k, p_k = (|u_k|^2 + s)^-1/2, with c_k = d det / du_k (the cross
product of the other two) and q_k = p_k^2 u_k, so that dP / du_k = -P q_k:

    d^2 h / du_k du_l = P [ d c_k / du_l - c_k q_l^T - q_k c_l^T + det (q_k q_l^T + [k = l] (2 q_k q_k^T - p_k^2)) ]

where d c_k / du_l is the cross-product matrix of the third vector (for k = l zero). `assemble` maps the
blocks of all invariants to the positions that their vectors are made of.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.prior.network.internal_coordinates import SOFT_LENGTH_SQUARED_NM2, InternalCoordinates, cross

Blocks = Float[Tensor, "batch item vector 3 vector 3"]


def distance_blocks(
    v: Float[Tensor, "batch item 1 3"],
    r: Float[Tensor, "batch item"],
    once: Float[Tensor, "batch item"],
    twice: Float[Tensor, "batch item"],
) -> Blocks:
    """Blocks of distances r of the vectors v from the energy's first and second derivative by r."""
    u = v[:, :, 0] / r.unsqueeze(-1)
    across = once / r
    blocks = ((twice - across).unsqueeze(-1) * u).unsqueeze(-1) * u.unsqueeze(-2)
    blocks.diagonal(dim1=-2, dim2=-1).add_(across.unsqueeze(-1))
    return blocks.unsqueeze(2).unsqueeze(4)


def handedness_blocks(v: Float[Tensor, "batch item 3 3"], once: Float[Tensor, "batch item"]) -> Blocks:
    """Blocks of handednesses of the vectors v whose energy is linear in them with slope `once`."""
    a, b, c = v.unbind(2)
    turned = torch.stack((cross(b, c), cross(c, a), cross(a, b)), 2)  # c_k
    det = (a * turned[:, :, 0]).sum(-1, keepdim=True)
    p_squared = 1 / (v.square().sum(-1, keepdim=True) + SOFT_LENGTH_SQUARED_NM2)
    q = p_squared * v
    scale = once * p_squared.squeeze(-1).prod(-1).sqrt()
    blocks = _outer(det.unsqueeze(-1) * q - turned, q).sub_(_outer(q, turned))
    for k in range(3):
        own = blocks[:, :, k, :, k]
        own += (2 * det * q[:, :, k]).unsqueeze(-1) * q[:, :, k].unsqueeze(-2)
        own.diagonal(dim1=-2, dim2=-1).sub_(det * p_squared[:, :, k])
        following, last = (k + 1) % 3, (k + 2) % 3
        third = _cross_matrix(v[:, :, last])
        blocks[:, :, k, :, following] -= third
        blocks[:, :, following, :, k] += third
    return blocks.mul_(scale[:, :, None, None, None, None])


def assemble(
    coordinates: InternalCoordinates, blocks: dict[str, Blocks], *, onto: Float[Tensor, "batch n n"]
) -> Float[Tensor, "batch n n"]:
    """Blocks of all groups as a matrix over positions, added to `onto`."""
    batch, n_atoms = len(onto), coordinates.stacked.shape[1]
    total = onto.new_zeros(batch * 9, n_atoms * n_atoms)
    for name, part in coordinates.maps.items():
        rows = blocks[name].permute(0, 3, 5, 1, 2, 4).reshape(batch * 9, -1)  # (batch, d, e; item, k, l)
        products = torch.einsum("ika,ilb->iklab", part, part).to(onto.dtype)
        total.addmm_(rows, products.reshape(-1, n_atoms * n_atoms))
    total = total.reshape(batch, 3, 3, n_atoms, n_atoms).permute(0, 3, 1, 4, 2)
    return onto + total.reshape(onto.shape)


def _outer(a: Float[Tensor, "batch item 3 3"], b: Float[Tensor, "batch item 3 3"]) -> Blocks:
    return a[:, :, :, :, None, None] * b[:, :, None, None]


def _cross_matrix(w: Float[Tensor, "batch item 3"]) -> Float[Tensor, "batch item 3 3"]:
    """[w]x, so that [w]x a = w x a."""
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))

"""First and second derivatives of angles and dihedrals by the vectors between their atoms.

Sources: Blondel and Karplus, J. Comput. Chem. 17 (1996) 1132 (dihedrals); the angle's follow from its cosine's.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Gradient = Float[Tensor, "image group vector 3"]
"""First derivatives by the vectors."""

Second = Float[Tensor, "image group m m"]
"""Second derivatives by the m = 3 times as many components of the vectors."""


def cosine_derivatives(u: Float[Tensor, "image group 3"], w: Tensor) -> tuple[Gradient, Second, Tensor, Tensor]:
    """Derivatives of the cosine of the angle between two vectors, then this cosine and the sine (image, group)."""
    a, b = u.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    u, w = u / a, w / b
    cosine = (u * w).sum(-1, keepdim=True)
    sine = torch.linalg.cross(u, w).norm(dim=-1)
    gradient = torch.stack(((w - cosine * u) / a, (u - cosine * w) / b), -2)
    one, c = torch.eye(3).to(u), cosine.unsqueeze(-1)
    u_u, w_w, u_w = _outer(u, u), _outer(w, w), _outer(u, w)
    both = u_w + u_w.mT + c * one
    uu = (3 * c * u_u - both) / a.square().unsqueeze(-1)
    ww = (3 * c * w_w - both) / b.square().unsqueeze(-1)
    uw = (one - u_u - w_w + c * u_w) / (a * b).unsqueeze(-1)
    return gradient, _square(((uu, uw), (uw.mT, ww))), cosine[..., 0], sine


def dihedral_derivatives(f: Float[Tensor, "image group 3"], g: Tensor, h: Tensor) -> tuple[Gradient, Second, Tensor]:
    """Derivatives of a dihedral by f = x_i - x_j, g = x_j - x_k and h = x_l - x_k, and the dihedral (image, group).

    Source: Blondel and Karplus, J. Comput. Chem. 17 (1996) 1132, eqs. 27, 32 to 34 and 44 to 46.
    """
    a, b = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
    aa, bb = (v.square().sum(-1, keepdim=True).clamp_min(1e-12) for v in (a, b))
    length = g.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    fg, hg = ((v * g).sum(-1, keepdim=True) for v in (f, h))
    phi = torch.atan2((torch.linalg.cross(b, a) * g).sum(-1), (a * b).sum(-1) * length[..., 0])
    middle = fg / (aa * length) * a - hg / (bb * length) * b
    gradient = torch.stack((-length / aa * a, middle, length / bb * b), -2)
    ga, gb, fa, hb = (torch.linalg.cross(*pair) for pair in ((g, a), (g, b), (f, a), (h, b)))
    aa, bb, length, fg, hg = (v.unsqueeze(-1) for v in (aa, bb, length, fg, hg))
    ff = length / aa.square() * _both(a, ga)
    hh = -length / bb.square() * _both(b, gb)
    gg = _both(ga, a) / (2 * length**3 * aa) + fg / (length * aa.square()) * _both(a, fa)
    gg = gg - _both(gb, b) / (2 * length**3 * bb) - hg / (length * bb.square()) * _both(b, hb)
    f_g = -(length.square() * _outer(fa, a) + fg * _outer(a, ga)) / (length * aa.square())
    h_g = (length.square() * _outer(hb, b) + hg * _outer(b, gb)) / (length * bb.square())
    none = torch.zeros_like(ff)
    return gradient, _square(((ff, f_g, none), (f_g.mT, gg, h_g.mT), (none, h_g, hh))), phi


def in_positions(
    gradient: Gradient,
    second: Second,
    slope: Float[Tensor, "image group"],
    curvature: Float[Tensor, "image group"],
    vectors: Sequence[Sequence[int]],
) -> Float[Tensor, "image group k k"]:
    """Second derivatives of U(q) by positions, from the derivatives of q by vectors.

    U'' grad q grad q^T + U' grad grad q, with a factor of every position in each vector.
    """
    flat = gradient.flatten(-2)
    by_vectors = curvature[..., None, None] * _outer(flat, flat) + slope[..., None, None] * second
    turn = torch.kron(torch.tensor(vectors, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    return turn.T @ by_vectors @ turn


def _square(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    return torch.cat([torch.cat(tuple(row), -1) for row in rows], -2)


def _outer(v: Tensor, w: Tensor) -> Tensor:
    return v.unsqueeze(-1) * w.unsqueeze(-2)


def _both(v: Tensor, w: Tensor) -> Tensor:
    return _outer(v, w) + _outer(w, v)

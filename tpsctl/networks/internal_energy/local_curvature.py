"""Second derivatives of energies that are sums over internal coordinates, in closed form.

For a distance r = |v| with energy e(r), and the unit vector u = v / r:

    d^2 e / dv^2 = e'' u u^T + (e' / r) (1 - u u^T)

For a handedness h = P det(u_1, u_2, u_3), P = prod_k p_k, p_k = (|u_k|^2 + s)^-1/2, with c_k = d det / du_k (the cross
product of the other two) and q_k = p_k^2 u_k, so that dP / du_k = -P q_k:

    d^2 h / du_k du_l = P [ d c_k / du_l - c_k q_l^T - q_k c_l^T + det (q_k q_l^T + [k = l] (2 q_k q_k^T - p_k^2)) ]

where d c_k / du_l is the cross-product matrix of the third vector (for k = l zero).

For an angle theta = arccos(c / sqrt(R)) with c = a . b, R = |a|^2 |b|^2 + soft and S = sqrt(R - c^2):

    d theta = -dc / S + c dR / (2 R S)
    d^2 theta = -d^2 c / S + c d^2 R / (2 R S)
                - c dc dc^T / S^3 + (dc dR^T + dR dc^T) / (2 S^3) - c (2 S^2 + R) dR dR^T / (4 R^2 S^3)

The features of a torsion have the form y / sqrt(N_0 N_1), with y = n_0 . n_1 for the cosine and y = |b_1| b_0 . n_1 for
the sine, normals n_0 = b_0 x b_1 and n_1 = b_1 x b_2, and N_k = |n_k|^2 + soft. With alpha_k = dN_k / (2 N_k):

    d = (dy - y (alpha_0 + alpha_1)) / sqrt(N_0 N_1)
    d^2 = [ d^2 y - dy (alpha_0 + alpha_1)^T - (alpha_0 + alpha_1) dy^T
            + y (3 alpha_0 alpha_0^T + 3 alpha_1 alpha_1^T + alpha_0 alpha_1^T + alpha_1 alpha_0^T
                 - d^2 N_0 / (2 N_0) - d^2 N_1 / (2 N_1)) ] / sqrt(N_0 N_1)

`assemble` converts the blocks of all invariants, which are over vectors, to a matrix over positions.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.internal_energy.coordinates import SOFT_LENGTH_SQUARED_NM2, cross

Blocks = Float[Tensor, "batch item vector 3 vector 3"]


def distance_blocks(
    v: Float[Tensor, "batch item 1 3"],
    r: Float[Tensor, "batch item"],
    once: Float[Tensor, "batch item"],
    twice: Float[Tensor, "batch item"],
) -> Blocks:
    """Blocks of distances.

    Args:
        v: The vectors, nm.
        r: Their lengths, nm.
        once: First derivative of the energy with respect to r, kT/nm.
        twice: Second derivative of the energy with respect to r, kT/nm^2.
    """
    u = v[:, :, 0] / r.unsqueeze(-1)
    across = once / r
    blocks = ((twice - across).unsqueeze(-1) * u).unsqueeze(-1) * u.unsqueeze(-2)
    blocks.diagonal(dim1=-2, dim2=-1).add_(across.unsqueeze(-1))
    return blocks.unsqueeze(2).unsqueeze(4)


def angle_blocks(
    v: Float[Tensor, "batch item 2 3"],
    soft: Float[Tensor, "batch 1"],
    once: Float[Tensor, "batch item"],
    twice: Float[Tensor, "batch item"],
) -> Blocks:
    """Blocks of angles.

    Args:
        v: The two vectors of each angle, nm.
        soft: Softening, nm^4.
        once: First derivative of the energy with respect to the angle, kT/rad.
        twice: Second derivative of the energy with respect to the angle, kT/rad^2.
    """
    a, b = v.unbind(2)
    c, a2, b2 = _dot(a, b), _dot(a, a), _dot(b, b)
    r = a2 * b2 + soft
    s = ((a2 * b2 - c.square()).clamp_min(0) + soft).sqrt()
    by_c, by_r, cubed = -1 / s, c / (2 * r * s), s**3
    dc, dr = _slots(b, a), _slots(2 * _times(b2, a), 2 * _times(a2, b))
    d_angle = _times(by_c, dc) + _times(by_r, dr)
    by_rr = -c * (2 * s.square() + r) / (4 * r.square() * cubed)
    none = torch.zeros_like(a)
    pairs = [
        (dc, _times(-once * c / cubed / 2, dc) + _times(once / (2 * cubed), dr)),
        (dr, _times(once * by_rr / 2, dr)),
        (d_angle, _times(twice / 2, d_angle)),
        (_slots(a, none), _slots(none, _times(4 * once * by_r, b))),
    ]
    diagonal = {(0, 1): once * by_c, (0, 0): 2 * once * by_r * b2, (1, 1): 2 * once * by_r * a2}
    return _blocks(pairs, diagonal)


def torsion_blocks(
    v: Float[Tensor, "batch item 3 3"],
    soft: Float[Tensor, "batch 1"],
    once: tuple[Tensor, Tensor],
    twice: tuple[Tensor, Tensor, Tensor],
) -> Blocks:
    """Blocks of torsions.

    Args:
        v: The three consecutive vectors b_0, b_1, b_2 of each torsion, nm.
        soft: Softening of the squared normals, nm^4.
        once: Derivatives of the energy with respect to cosine and sine, each (batch, item), kT.
        twice: Second derivatives: cosine twice, cosine and sine, sine twice, each (batch, item), kT.
    """
    b0, b1, b2 = v.unbind(2)
    none = torch.zeros_like(b0)
    n0, n1 = cross(b0, b1), cross(b1, b2)
    p, q, k = _dot(b0, b1), _dot(b1, b2), _dot(b0, b2)
    a2, b, c2 = _dot(b0, b0), _dot(b1, b1).clamp_min(1e-12), _dot(b2, b2)
    length, triple = b.sqrt(), _dot(b0, n1)
    inverse0, inverse1 = 1 / (_dot(n0, n0) + soft), 1 / (_dot(n1, n1) + soft)
    scale = (inverse0 * inverse1).sqrt()
    dp, dq, dk, d_length = _slots(b1, b0, none), _slots(none, b2, b1), _slots(b2, none, b0), _slots(none, b1, none)
    d_length = _times(1 / length, d_length)
    d_triple = _slots(n1, cross(b2, b0), n0)
    alpha = _times(inverse0, _slots(_times(b, b0) - _times(p, b1), _times(a2, b1) - _times(p, b0), none))
    beta = _times(inverse1, _slots(none, _times(c2, b1) - _times(q, b2), _times(b, b2) - _times(q, b1)))
    y_cos, y_sin = _dot(n0, n1), length * triple
    dy_cos = _times(p, dq) + _times(q, dp) - _times(b, dk) - _slots(none, 2 * _times(k, b1), none)
    dy_sin = _times(length, d_triple) + _times(triple, d_length)
    d_cos = _times(scale, dy_cos - _times(y_cos, alpha + beta))
    d_sin = _times(scale, dy_sin - _times(y_sin, alpha + beta))

    on_cos, on_sin = scale * once[0], scale * once[1]
    y, dy = on_cos * y_cos + on_sin * y_sin, _times(on_cos, dy_cos) + _times(on_sin, dy_sin)
    y0, y1 = y * inverse0, y * inverse1
    square_b1 = _slots(none, b1, none)
    pairs = [
        (d_cos, _times(twice[0] / 2, d_cos) + _times(twice[1], d_sin)),
        (d_sin, _times(twice[2] / 2, d_sin)),
        (dy, -(alpha + beta)),
        (alpha, _times(y, 1.5 * alpha + beta)),
        (beta, _times(1.5 * y, beta)),
        (square_b1, -2 * _slots(_times(y0, b0), none, _times(y1, b2)) - 2 * _times(on_cos, dk)),
        (dp, _times(y0 / 2, dp) + _times(on_cos, dq)),
        (dq, _times(y1 / 2, dq)),
        (d_triple, _times(on_sin, d_length)),
        (d_length, _times(-on_sin * triple / (2 * length), d_length)),
    ]
    diagonal = {
        (0, 0): -y0 * b,
        (0, 1): y0 * p + on_cos * q,
        (0, 2): -on_cos * b,
        (1, 1): -y0 * a2 - y1 * c2 - 2 * on_cos * k + on_sin * triple / length,
        (1, 2): y1 * q + on_cos * p,
        (2, 2): -y1 * b,
    }
    return _add_crosses(_blocks(pairs, diagonal), v, on_sin * length)


def handedness_blocks(v: Float[Tensor, "batch item 3 3"], once: Float[Tensor, "batch item"]) -> Blocks:
    """Blocks of handedness features.

    Args:
        v: The three vectors of each feature, nm.
        once: Derivative of the energy with respect to the feature, kT; the energy is linear in the feature.
    """
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
    return _add_crosses(blocks, v, torch.ones_like(once)).mul_(scale[:, :, None, None, None, None])


def assemble(
    maps: dict[str, Tensor], blocks: dict[str, Blocks], *, onto: Float[Tensor, "batch n n"]
) -> Float[Tensor, "batch n n"]:
    """Add the blocks of all groups, converted to a matrix over positions (n = 3 atom), to `onto`, kT/nm^2.

    Args:
        maps: For each group the matrix from positions to vectors, (item, vector, atom).
        blocks: For each group the blocks over these vectors.
        onto: The matrix to which they are added; it is not changed.
    """
    batch, n_atoms = len(onto), onto.shape[1] // 3
    total = onto.new_zeros(batch * 9, n_atoms * n_atoms)
    for name, part in maps.items():
        rows = blocks[name].permute(0, 3, 5, 1, 2, 4).reshape(batch * 9, -1)  # (batch, d, e; item, k, l)
        products = torch.einsum("ika,ilb->iklab", part, part).to(onto.dtype)
        total.addmm_(rows, products.reshape(-1, n_atoms * n_atoms))
    total = total.reshape(batch, 3, 3, n_atoms, n_atoms).permute(0, 3, 1, 4, 2)
    return onto + total.reshape(onto.shape)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _times(number: Float[Tensor, "batch item"], vectors: Tensor) -> Tensor:
    return number.view(*number.shape, *[1] * (vectors.ndim - 2)) * vectors


def _slots(*parts: Float[Tensor, "batch item 3"]) -> Float[Tensor, "batch item vector 3"]:
    """Join the derivatives with respect to the single vectors of an item."""
    return torch.stack(parts, 2)


def _blocks(pairs: list[tuple[Tensor, Tensor]], diagonal: dict[tuple[int, int], Tensor]) -> Blocks:
    """Blocks of x y^T + y x^T summed over the pairs, plus multiples of the identity in blocks (k, m) and (m, k)."""
    x, y = (torch.stack(part, -1) for part in zip(*pairs, strict=True))
    product = x.flatten(2, 3) @ y.flatten(2, 3).mT
    blocks = (product + product.mT).unflatten(3, x.shape[2:4]).unflatten(2, x.shape[2:4])
    for place, number in diagonal.items():
        for k, m in {place, place[::-1]}:
            blocks[:, :, k, :, m].diagonal(dim1=-2, dim2=-1).add_(number.unsqueeze(-1))
    return blocks


def _add_crosses(blocks: Blocks, v: Float[Tensor, "batch item 3 3"], scale: Float[Tensor, "batch item"]) -> Blocks:
    """Add scale d^2 det(v) / dv^2 to `blocks`."""
    for k in range(3):
        following, last = (k + 1) % 3, (k + 2) % 3
        third = _cross_matrix(_times(scale, v[:, :, last]))
        blocks[:, :, k, :, following] -= third
        blocks[:, :, following, :, k] += third
    return blocks


def _outer(a: Float[Tensor, "batch item 3 3"], b: Float[Tensor, "batch item 3 3"]) -> Blocks:
    return a[:, :, :, :, None, None] * b[:, :, None, None]


def _cross_matrix(w: Float[Tensor, "batch item 3"]) -> Float[Tensor, "batch item 3 3"]:
    """The matrix [w]x with [w]x a = w x a."""
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))

"""Translations and rotations of a molecule as directions in the space of its coordinates.

In mass-weighted coordinates q = sqrt(m) x the rigid motions of a configuration span at most six directions; a linear
molecule has five, a single atom three. An orthonormal basis Q of them gives the projector 1 - Q Q^T.
"""

import torch
from jaxtyping import Float
from torch import Tensor

RANK_TOLERANCE = 1e-6
"""A rigid motion whose singular value is below this fraction of the largest moves no atom (rotation about the axis of
a linear molecule) and is left out."""

RIDGE = 1e-10
"""Added to the matrix of a least-squares fit, relative to its size, so that a missing rotation gets no part of it."""


def rigid_basis(
    x: Float[Tensor, "batch atom dim"], masses_amu: Float[Tensor, " atom"] | None = None
) -> Float[Tensor, "batch n rank"]:
    """Orthonormal directions of translation and rotation, (batch, 3 atom, 6); missing ones are zero columns.

    Args:
        x: Configurations, nm, in three dimensions.
        masses_amu: Mass of every atom, amu, for a basis in mass-weighted coordinates; None for plain coordinates.
    """
    motions = rigid_motions(x)
    if masses_amu is not None:
        motions = masses_amu.to(x).sqrt().repeat_interleave(3)[:, None] * motions
    values, vectors = torch.linalg.eigh(motions.mT @ motions)
    present = values > RANK_TOLERANCE**2 * values[:, -1:]
    scale = torch.where(present, values.clamp_min(torch.finfo(x.dtype).tiny).rsqrt(), torch.zeros_like(values))
    return motions @ (vectors * scale.unsqueeze(1))


def rigid_motions(x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch n 6"]:
    """Three translations and three rotations as displacements of atoms, of similar length but not orthonormal."""
    arm = x - x.mean(-2, keepdim=True)
    size = arm.square().sum(-1).mean(-1).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
    arm = arm / size[:, None, None]
    motions = x.new_zeros(*x.shape, 6)
    for k in range(3):
        motions[..., k, k] = 1.0
        a, b = (k + 1) % 3, (k + 2) % 3
        motions[..., b, 3 + k], motions[..., a, 3 + k] = arm[..., a], -arm[..., b]
    return motions.flatten(1, 2)


def without_rigid(v: Float[Tensor, "batch n"], basis: Float[Tensor, "batch n rank"]) -> Float[Tensor, "batch n"]:
    """The vector without its component along rigid motions."""
    return v - (basis @ (basis.mT @ v.unsqueeze(2))).squeeze(2)


def turned_evenly(
    x: Float[Tensor, "path image atom 3"], weights: Float[Tensor, " atom"]
) -> Float[Tensor, "path image atom 3"]:
    """The same shapes, turned and shifted so that rigid motion is spread evenly along the curve; the ends stay.

    The rigid part of each displacement of neighbors is a least-squares fit (t, w) with x' - x = t + w x (x - c). Image
    i is turned back by the sum of those before it and on by i/L of the sum of all. The fit is linear, so that large
    rotations are spread evenly only after several applications; the turns themselves are exact.

    Args:
        x: Curves, nm.
        weights: Weights of the atoms in the fit, e.g. masses.
    """
    center = x[:, :1].mean(2, keepdim=True)
    arm = x - center
    middle, step = (arm[:, 1:] + arm[:, :-1]) / 2, arm[:, 1:] - arm[:, :-1]
    size = arm[:, :1].square().sum(-1).mean(-1).sqrt().clamp_min(torch.finfo(x.dtype).tiny)[..., None, None]
    motions = x.new_zeros(*middle.shape, 6)
    for k in range(3):
        motions[..., k, k] = 1.0
        a, b = (k + 1) % 3, (k + 2) % 3
        motions[..., b, 3 + k], motions[..., a, 3 + k] = middle[..., a] / size[..., 0], -middle[..., b] / size[..., 0]
    root = weights.to(x).sqrt().unsqueeze(-1)
    fit = coordinates((root.unsqueeze(-1) * motions).flatten(2, 3), (root * step).flatten(2))
    total = fit.cumsum(1)
    fraction = torch.arange(1, x.shape[1], dtype=x.dtype, device=x.device).view(1, -1, 1) / (x.shape[1] - 1)
    back = (fraction * total[:, -1:] - total)[:, :-1]
    turn = torch.linalg.matrix_exp(_cross_matrix(back[..., 3:] / size[..., 0]))
    moved = (turn.unsqueeze(2) @ arm[:, 1:-1].unsqueeze(-1)).squeeze(-1) + back[..., :3].unsqueeze(2) + center
    return torch.cat((x[:, :1], moved, x[:, -1:]), 1)


def coordinates(motions: Float[Tensor, "... n rank"], v: Float[Tensor, "... n"]) -> Float[Tensor, "... rank"]:
    """Least-squares coordinates of vectors in directions that need not be independent (a linear molecule has five)."""
    gram = motions.mT @ motions
    size = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(gram.shape[-1], dtype=v.dtype, device=v.device)
    return torch.linalg.solve_ex(gram + RIDGE * size * identity, motions.mT @ v.unsqueeze(-1))[0].squeeze(-1)


def _cross_matrix(w: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """The matrix [w] with [w] v = w x v."""
    zero = torch.zeros_like(w[..., 0])
    rows = (zero, -w[..., 2], w[..., 1], w[..., 2], zero, -w[..., 0], -w[..., 1], w[..., 0], zero)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))

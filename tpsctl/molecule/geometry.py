"""Geometry of batches of configurations in torch: superposition, dihedrals, signed volumes.

All functions take coordinates in nm with shape (..., bead, 3) and are differentiable
unless they say otherwise.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def center(x: Float[Tensor, "*batch bead dim"], weights: Float[Tensor, " bead"] | None = None) -> Tensor:
    """Move x so that its (weighted) mean over beads is zero."""
    if weights is None:
        return x - x.mean(-2, keepdim=True)
    w = (weights / weights.sum()).to(x).unsqueeze(-1)
    return x - (w * x).sum(-2, keepdim=True)


def superpose(
    mobile: Float[Tensor, "*batch bead 3"],
    target: Float[Tensor, "*batch bead 3"],
    weights: Float[Tensor, " bead"] | None = None,
) -> Float[Tensor, "*batch bead 3"]:
    """Rotate and translate `mobile` onto `target` with the least (weighted) RMSD, without a reflection; nm.

    Source: Kabsch, Acta Cryst. A 32 (1976) 922.
    """
    w = torch.ones(mobile.shape[-2], dtype=mobile.dtype, device=mobile.device) if weights is None else weights
    w = (w / w.sum()).to(mobile).unsqueeze(-1)
    mobile_mean = (w * mobile).sum(-2, keepdim=True)
    target_mean = (w * target).sum(-2, keepdim=True)
    covariance = (w * (mobile - mobile_mean)).transpose(-1, -2) @ (target - target_mean)
    u, _, vh = torch.linalg.svd(covariance)
    flip = torch.ones(*covariance.shape[:-1], dtype=mobile.dtype, device=mobile.device)
    flip[..., 2] = torch.sign(torch.linalg.det(u @ vh))
    rotation = (u * flip.unsqueeze(-2)) @ vh
    return (mobile - mobile_mean) @ rotation + target_mean


def rmsd(
    a: Float[Tensor, "*batch bead 3"],
    b: Float[Tensor, "*batch bead 3"],
    weights: Float[Tensor, " bead"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Least root-mean-square deviation after superposition, nm."""
    squared = (superpose(a, b, weights) - b).square().sum(-1)
    if weights is None:
        return squared.mean(-1).sqrt()
    return ((weights / weights.sum()).to(a) * squared).sum(-1).sqrt()


def pair_distances(x: Float[Tensor, "*batch bead dim"]) -> Float[Tensor, "*batch pair"]:
    """Distances of all pairs of beads i < j, in the unit of x."""
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], offset=1)
    return (x[..., i, :] - x[..., j, :]).norm(dim=-1)


def dihedral(x: Float[Tensor, "*batch bead 3"], quadruples: Tensor) -> Float[Tensor, "*batch torsion"]:
    """Dihedral angles in rad, (-pi, pi], IUPAC sign; quadruples has shape (torsion, 4)."""
    p0, p1, p2, p3 = (x[..., quadruples[:, i], :] for i in range(4))
    b0, b1, b2 = p1 - p0, p2 - p1, p3 - p2
    n0, n1 = torch.linalg.cross(b0, b1), torch.linalg.cross(b1, b2)
    sine = (torch.linalg.cross(n0, n1) * b1).sum(-1) / b1.norm(dim=-1)
    return torch.atan2(sine, (n0 * n1).sum(-1))


def signed_volume(x: Float[Tensor, "*batch bead 3"], quadruples: Tensor) -> Float[Tensor, "*batch center"]:
    """Signed volume (a - o) . ((b - o) x (c - o)) in nm^3 of bead quadruples; its sign is the handedness.

    `quadruples` has shape (center, 4), with rows (o, a, b, c).
    """
    o, a, b, c = (x[..., quadruples[:, i], :] for i in range(4))
    return ((a - o) * torch.linalg.cross(b - o, c - o)).sum(-1)

"""Translations and rotations of a molecule, and what is left when they are taken out.

In mass-weighted coordinates q = sqrt(m) x the rigid motions of a configuration span at most six directions; a linear
molecule has five, a single atom three. An orthonormal basis Q of them gives the projector 1 - Q Q^T.
"""

import torch
from jaxtyping import Float
from torch import Tensor

RANK_TOLERANCE = 1e-6
"""A rigid motion whose singular value is below this fraction of the largest is none (rotation about the axis of a
linear molecule)."""

RIGID_CURVATURE = 1e7
"""Curvature given to rigid motions in a projected Hessian: above every vibration's, so that they never count as low
modes, in kJ/mol/nm^2 or, mass-weighted, 1/ps^2."""


def rigid_basis(
    x: Float[Tensor, "batch atom dim"], masses_amu: Float[Tensor, " atom"] | None = None
) -> Float[Tensor, "batch n rank"]:
    """Orthonormal directions of translation and rotation, (batch, 3 atom, 6); missing ones are zero columns.

    Args:
        x: Configurations, nm, in three dimensions.
        masses_amu: Given, the basis is of mass-weighted coordinates.
    """
    weight = torch.ones_like(x[0, :, 0]) if masses_amu is None else masses_amu.to(x).sqrt()
    arm = x - x.mean(-2, keepdim=True)
    eye = torch.eye(3, dtype=x.dtype, device=x.device)
    size = arm.square().sum(-1).mean(-1).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
    columns = [eye[k].expand_as(arm) for k in range(3)]
    columns += [torch.linalg.cross(eye[k].expand_as(arm), arm) / size[:, None, None] for k in range(3)]
    motions = torch.stack([(weight[:, None] * c).flatten(1) for c in columns], 2)
    values, vectors = torch.linalg.eigh(motions.mT @ motions)
    present = values > RANK_TOLERANCE**2 * values[:, -1:]
    scale = torch.where(present, values.clamp_min(torch.finfo(x.dtype).tiny).rsqrt(), torch.zeros_like(values))
    basis = motions @ (vectors * scale.unsqueeze(1))
    return basis


def no_basis(x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n 0"]:
    """The basis of a system in a fixed potential: no direction is free."""
    return x.new_zeros(len(x), x[0].numel(), 0)


def without_rigid(v: Float[Tensor, "batch n"], basis: Float[Tensor, "batch n rank"]) -> Float[Tensor, "batch n"]:
    """The vector less its rigid part."""
    return v - (basis @ (basis.mT @ v.unsqueeze(2))).squeeze(2)


def projected(hessian: Float[Tensor, "batch n n"], basis: Float[Tensor, "batch n rank"]) -> Tensor:
    """P H P plus a high curvature for rigid motions, P = 1 - Q Q^T."""
    along = basis @ (basis.mT @ hessian)
    inner = hessian - along - along.mT + basis @ (basis.mT @ hessian @ basis) @ basis.mT
    return (inner + inner.mT) / 2 + RIGID_CURVATURE * (basis @ basis.mT)

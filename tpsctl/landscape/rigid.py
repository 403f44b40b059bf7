"""Translations and rotations of a molecule, and vectors and Hessians from which they are projected out.

In mass-weighted coordinates q = sqrt(m) x the rigid motions of a configuration span at most six directions; a linear
molecule has five, a single atom three. An orthonormal basis Q of them gives the projector 1 - Q Q^T.
"""

import torch
from jaxtyping import Float
from torch import Tensor

RANK_TOLERANCE = 1e-6
"""A rigid motion whose singular value is below this fraction of the largest moves no atom (rotation about the axis of
a linear molecule) and is left out."""

RIGID_CURVATURE = 1e7
"""Curvature given to rigid motions in a projected Hessian, kJ/mol/nm^2 or, mass-weighted, 1/ps^2. It is above the
curvatures of all vibrations, so that rigid motions never count as low modes."""


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


def no_basis(x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n 0"]:
    """The empty basis of a system in a fixed potential, which has no rigid motions."""
    return x.new_zeros(len(x), x[0].numel(), 0)


def without_rigid(v: Float[Tensor, "batch n"], basis: Float[Tensor, "batch n rank"]) -> Float[Tensor, "batch n"]:
    """The vector without its component along rigid motions."""
    return v - (basis @ (basis.mT @ v.unsqueeze(2))).squeeze(2)


def projected(hessian: Float[Tensor, "batch n n"], basis: Float[Tensor, "batch n rank"]) -> Tensor:
    """P H P plus `RIGID_CURVATURE` along rigid motions, with P = 1 - Q Q^T."""
    along = basis @ (basis.mT @ hessian)
    inner = hessian - along - along.mT + basis @ (basis.mT @ hessian @ basis) @ basis.mT
    return (inner + inner.mT) / 2 + RIGID_CURVATURE * (basis @ basis.mT)

"""Hessians of a molecule without its translations and rotations; the directions come from `molecule.rigid_motions`."""

from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.rigid_motions import rigid_basis, rigid_motions, without_rigid

__all__ = ["RIGID_CURVATURE", "no_basis", "projected", "rigid_basis", "rigid_motions", "without_rigid"]

RIGID_CURVATURE = 1e7
"""Curvature given to rigid motions in a projected Hessian, kJ/mol/nm^2 or, mass-weighted, 1/ps^2. It is above the
curvatures of all vibrations, so that rigid motions never count as low modes."""


def no_basis(x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n 0"]:
    """The empty basis of a system in a fixed potential, which has no rigid motions."""
    return x.new_zeros(len(x), x[0].numel(), 0)


def projected(hessian: Float[Tensor, "batch n n"], basis: Float[Tensor, "batch n rank"]) -> Tensor:
    """P H P plus `RIGID_CURVATURE` along rigid motions, with P = 1 - Q Q^T."""
    along = basis @ (basis.mT @ hessian)
    inner = hessian - along - along.mT + basis @ (basis.mT @ hessian @ basis) @ basis.mT
    return (inner + inner.mT) / 2 + RIGID_CURVATURE * (basis @ basis.mT)

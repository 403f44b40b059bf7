"""What searches for minima and saddles share: points with their derivatives, and steps of bounded length."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.landscape.rigid import RIGID_CURVATURE, no_basis, projected, rigid_basis
from tpsctl.landscape.surface import Surface

NOTICEABLE_CURVATURE = 1.0
"""Curvatures within this of zero count as flat, kJ/mol/nm^2; differences of forces give them to about 1e-2."""

STEP_PER_MODE_NM = 0.1
"""Longest step along a mode, nm, far from a stationary point."""


@dataclass(frozen=True)
class Points:
    """A batch of points of a search with their energies and derivatives.

    Attributes:
        x: Configurations, nm.
        energy: Potential energies, kJ/mol.
        gradient: Gradients with n = atom * dim components, kJ/mol/nm.
        hessian: Exact second derivatives at x, kJ/mol/nm^2.
        converged: Whether each point is a minimum or saddle, as was sought.
    """

    x: Float[Tensor, "batch atom dim"]
    energy: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch n"]
    hessian: Float[Tensor, "batch n n"]
    converged: Bool[Tensor, " batch"]

    @property
    def gradient_norm(self) -> Float[Tensor, " batch"]:
        """Euclidean length of the whole gradient, kJ/mol/nm."""
        return self.gradient.norm(dim=1)


def basis_of(surface: Surface, x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n rank"]:
    """Orthonormal directions of the rigid motions of x, along which the energy of this surface does not change."""
    return rigid_basis(x) if surface.rigid_motions else no_basis(x)


def evaluate(surface: Surface, x: Float[Tensor, "batch atom dim"]) -> tuple[Tensor, Tensor]:
    """Energies (batch,), kJ/mol, and gradients (batch, n), kJ/mol/nm; where either is not finite, both are infinite."""
    energy, gradient = surface.energy_gradient(x)
    gradient = gradient.flatten(1)
    sound = torch.isfinite(energy) & torch.isfinite(gradient).all(1)
    return torch.where(sound, energy, torch.inf), torch.where(sound[:, None], gradient, torch.inf)


def curvatures(surface: Surface, x: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues and eigenvectors of the Hessian without rigid motions (these come last)."""
    values, vectors = torch.linalg.eigh(projected(hessian, basis_of(surface, x)))
    return values, vectors


def index_of(values: Float[Tensor, "batch n"]) -> Tensor:
    """Number of negative curvatures, (batch,)."""
    return (values < -NOTICEABLE_CURVATURE).sum(1)


def is_rigid(values: Float[Tensor, "*batch n"]) -> Tensor:
    """A mask of those eigenvalues of `curvatures` that belong to rigid motions."""
    return values > RIGID_CURVATURE / 2


def longest_move(step: Float[Tensor, "batch n"], dim: int) -> Float[Tensor, " batch"]:
    """The displacement of the atom that moves farthest, nm."""
    return step.unflatten(1, (-1, dim)).norm(dim=-1).amax(1)


def limited(step: Float[Tensor, "batch n"], dim: int, limit_nm: Float[Tensor, " batch"] | float) -> Tensor:
    """The steps, nm, shortened where an atom would move farther than the limit."""
    longest = longest_move(step, dim).clamp_min(torch.finfo(step.dtype).tiny)
    return step * (limit_nm / longest).clamp_max(1.0).unsqueeze(1)


def step_along_modes(
    gradient: Float[Tensor, "batch n"], values: Tensor, vectors: Tensor, signs: Float[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """Newton's step in size along every mode, at most `STEP_PER_MODE_NM`, and without rigid motions.

    Args:
        gradient: Gradients, kJ/mol/nm.
        values: Curvatures, kJ/mol/nm^2.
        vectors: Their modes.
        signs: 1 for modes along which the step goes uphill, -1 for those along which it goes downhill.
    """
    along = (vectors.mT @ gradient.unsqueeze(2)).squeeze(2)
    size = values.abs() + (values.square() + 4 * along.square() / STEP_PER_MODE_NM**2).sqrt()
    move = signs * 2 * along / size.clamp_min(torch.finfo(size.dtype).tiny)
    return (vectors @ move.masked_fill(is_rigid(values), 0.0).unsqueeze(2)).squeeze(2)


def model_error(
    values: Tensor, vectors: Tensor, error: Float[Tensor, "batch n"], before: Tensor, after: Tensor
) -> Float[Tensor, " batch"]:
    """Relative error of the gradient that a quadratic model predicts.

    The error is measured by sum_i g_i^2 / (|l_i| + 100 kJ/mol/nm^2), which is an energy. It gives little weight to the
    strain that a long step along a curved valley puts on stiff bonds, because the next step removes this strain.

    Args:
        values: Curvatures l_i of the model, kJ/mol/nm^2.
        vectors: Modes of these curvatures.
        error: Gradient found minus gradient predicted, kJ/mol/nm.
        before: Gradient before the step.
        after: Gradient found after it.
    """

    def size(v: Tensor) -> Tensor:
        along = (vectors.mT @ v.unsqueeze(2)).squeeze(2)
        return (along.square() / (values.abs() + 100)).sum(1)

    return (size(error) / torch.maximum(size(before), size(after)).clamp_min(torch.finfo(error.dtype).tiny)).sqrt()


def bofill(hessian: Tensor, step: Float[Tensor, "batch n"], change: Float[Tensor, "batch n"]) -> Tensor:
    """Hessians updated by a step and the change of the gradient: a mixture of Powell's and the rank-one update.

    Source: Bofill, J. Comput. Chem. 15 (1994) 1.
    """
    tiny = torch.finfo(step.dtype).tiny
    error = change - (hessian @ step.unsqueeze(2)).squeeze(2)
    ss, se, ee = (step * step).sum(1), (step * error).sum(1), (error * error).sum(1)
    ss = ss.clamp_min(tiny)
    weight = (se.square() / (ss * ee).clamp_min(tiny)).reshape(-1, 1, 1)
    rank_one = error.unsqueeze(2) * error.unsqueeze(1) / torch.where(se.abs() > tiny, se, tiny).reshape(-1, 1, 1)
    cross = error.unsqueeze(2) * step.unsqueeze(1)
    powell = (cross + cross.mT) / ss.reshape(-1, 1, 1)
    powell = powell - (se / ss.square()).reshape(-1, 1, 1) * step.unsqueeze(2) * step.unsqueeze(1)
    return hessian + torch.where(weight > 0, weight * rank_one, 0.0) + (1 - weight) * powell

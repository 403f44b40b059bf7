"""Paths that minimize a sum over pair distances, image by image, held together by springs.

    S(x) = sum_{i<j} w_ij h(|x_i - x_j| - d_ij)^2 ,     w_ij = d_ij^-4
    h(u) = u, or min(u, 0) for pairs that only must not come closer than d_ij

plus springs (K/2) sum_k |u_{k+1} - u_k|^2 on the images' displacements u_k = x_k - r_k from a reference
path (r = 0: on the images themselves), so that neighboring images choose the same branch.

Minimized for one path at a time by L-BFGS in z = R x with R^T R = K T + w, T the springs' matrix between images
and w the mean curvature of a bead's pairs. Springs alone have a condition number of images^2 in x and one in z: after
60 steps on 100 images of alanine dipeptide the gradient is 50 times smaller than by L-BFGS in x.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.guess.quasi_newton import minimized
from tpsctl.molecule.topology import Topology

SPRING_PER_NM2 = 2e4
"""K in units of S. A pair at 0.15 nm has w = 2000 / nm^4, a pair at 0.5 nm 16: at 200 images jump (largest gap
ten times the mean for alanine dipeptide with 100 images), at 2e4 the largest is below twice the mean."""


@dataclass(frozen=True)
class PairTargets:
    """What the distances should be.

    Attributes:
        distance: d_ij per image, nm, > 0 off the diagonal.
        weight: w_ij, 1/nm^4, zero for pairs that do not count and on the diagonal.
        lower_bound: Pairs that only must not come closer.
    """

    distance: Float[Tensor, "image bead bead"]
    weight: Float[Tensor, "image bead bead"]
    lower_bound: Bool[Tensor, "bead bead"]


def weights_of(distance: Float[Tensor, "image bead bead"]) -> Float[Tensor, "image bead bead"]:
    """d^-4, zero on the diagonal."""
    diagonal = torch.eye(distance.shape[-1], dtype=torch.bool, device=distance.device)
    return distance.masked_fill(diagonal, torch.inf).pow(-4)


def rigid_pairs(topology: Topology) -> Tensor:
    """Mask (bead, bead) of bonds and of the outer atoms of angles: distances that hardly change."""
    mask = torch.zeros(topology.n_atoms, topology.n_atoms, dtype=torch.bool)
    for i, j in (*topology.bonds, *((i, k) for i, _, k in topology.angles)):
        mask[i, j] = mask[j, i] = True
    return mask


def relaxed(
    path: Float[Tensor, "image bead 3"], targets: PairTargets, *, reference: Tensor | None = None, max_steps: int
) -> Float[Tensor, "image bead 3"]:
    """The path with its interior images at the minimum of S plus springs; the end images stay."""
    origin = torch.zeros_like(path) if reference is None else reference
    root = _root_of_curvature(path, targets)

    def path_at(z: Tensor) -> Tensor:
        interior = torch.linalg.solve_triangular(root, z.view(len(root), -1), upper=True)
        return torch.cat([path[:1], interior.view_as(path[1:-1]), path[-1:]])

    def value_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
        x = path_at(z)
        value, gradient = _pair_potential(x, targets)
        gap = (x - origin)[1:] - (x - origin)[:-1]
        gradient[:-1] -= SPRING_PER_NM2 * gap
        gradient[1:] += SPRING_PER_NM2 * gap
        by_z = torch.linalg.solve_triangular(root.mT, gradient[1:-1].flatten(1), upper=False)
        return value + SPRING_PER_NM2 / 2 * gap.square().sum(), by_z.flatten()

    start = (root @ path[1:-1].flatten(1)).flatten()
    return path_at(minimized(value_and_gradient, start, max_steps=max_steps))


def _root_of_curvature(path: Float[Tensor, "image bead 3"], targets: PairTargets) -> Float[Tensor, "interior interior"]:
    """Upper triangular R with R^T R = K T + w."""
    moves = torch.eye(len(path)).to(path)[:, 1:-1]
    springs = moves.diff(dim=0).mT @ moves.diff(dim=0)
    pairs = 2 / 3 * targets.weight.sum(-1).mean()
    return torch.linalg.cholesky(SPRING_PER_NM2 * springs + pairs * moves[1:-1], upper=True)


def _pair_potential(
    x: Float[Tensor, "image bead 3"], targets: PairTargets
) -> tuple[Float[Tensor, ""], Float[Tensor, "image bead 3"]]:
    """S summed over images and its gradient, without any (bead, bead, 3) array."""
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    excess = distance - targets.distance
    excess = torch.where(targets.lower_bound, excess.clamp_max(0), excess)
    weighted = targets.weight * excess
    coefficient = 2 * weighted / distance.clamp_min(1e-6)
    return (weighted * excess).sum() / 2, coefficient.sum(-1, keepdim=True) * x - coefficient @ x

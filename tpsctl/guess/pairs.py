"""Paths that minimize a sum over pair distances, image by image, held together by springs.

    S(x) = sum_{i<j} w_ij h(|x_i - x_j| - d_ij)^2 ,     w_ij = d_ij^-4
    h(u) = u, or min(u, 0) for pairs that only must not come closer than d_ij

plus springs (K/2) sum_k |u_{k+1} - u_k|^2 on the images' displacements u_k = x_k - r_k from a reference
path (r = 0: on the images themselves), so that neighboring images choose the same branch.

Minimized by L-BFGS for one path at a time.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.topology import Topology

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
    interior = path[1:-1].clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [interior], max_iter=max_steps, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-3
    )

    def closure() -> Tensor:
        x = torch.cat([path[:1], interior.detach(), path[-1:]])
        value, gradient = _pair_potential(x, targets)
        gap = (x - origin)[1:] - (x - origin)[:-1]
        gradient[:-1] -= SPRING_PER_NM2 * gap
        gradient[1:] += SPRING_PER_NM2 * gap
        interior.grad = gradient[1:-1]
        return value + SPRING_PER_NM2 / 2 * gap.square().sum()

    optimizer.step(closure)
    return torch.cat([path[:1], interior.detach(), path[-1:]])


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

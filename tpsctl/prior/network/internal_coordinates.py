"""Invariant features of a molecule: distances, angles, torsions and handedness.

Everything is invariant under rotation and translation, and only the last group changes sign under
reflection. It is the handedness that a network on noised structures finds hardest to see: the triple
product of single atoms drowns in noise exactly where the sign is decided. Triple products of
branch centroids u (means over all atoms within `depth` bonds of a branch, minus its root) keep it,

    h = det(u_1, u_2, u_3) / sqrt( prod_k (|u_k|^2 + 0.05 nm^2) ) .

`InternalCoordinates` holds index tables only; it has nothing to learn.
"""

from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.topology import Topology

BRANCH_DEPTHS = (0, 1, 3)
"""Bonds to which a branch centroid reaches."""

_SOFT_LENGTH_SQUARED_NM2 = 0.05
_COLLINEAR_NM4 = 1e-7
"""Keeps torsions finite when three atoms are in line; |b0 x b1|^2 of a usual torsion is 2e-4 nm^4."""


class InternalCoordinates(nn.Module):
    """Index tables for the features of one topology.

    Args:
        topology: Molecule with bonds; at least 4 atoms.
    """

    pairs: Tensor
    far: Tensor
    angles: Tensor
    torsions: Tensor
    n_proper: int
    centroids: Tensor

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        pairs = list(combinations(range(topology.n_atoms), 2))
        near = {tuple(sorted(bond)) for bond in topology.bonds} | {
            (min(i, k), max(i, k)) for i, _, k in topology.angles
        }
        torsions = [*topology.torsions, *_impropers(topology)]
        self.n_proper = len(topology.torsions)
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        self.register_buffer(
            "far", torch.tensor([n for n, pair in enumerate(pairs) if pair not in near]), persistent=False
        )
        self.register_buffer("angles", torch.tensor(topology.angles), persistent=False)
        self.register_buffer("torsions", torch.tensor(torsions), persistent=False)
        self.register_buffer("centroids", _handedness_triples(topology), persistent=False)

    def distances(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch pair"]:
        """All pair distances, nm."""
        difference = x[:, self.pairs[:, 0]] - x[:, self.pairs[:, 1]]
        return difference.square().sum(-1).clamp_min(1e-12).sqrt()

    def cosines(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch angle"]:
        """Cosine of every bond angle."""
        a, o, b = (x[:, self.angles[:, k]] for k in range(3))
        u, v = a - o, b - o
        return (u * v).sum(-1) / (u.square().sum(-1) * v.square().sum(-1)).clamp_min(1e-12).sqrt()

    def torsion_vectors(self, x: Float[Tensor, "batch bead 3"]) -> tuple[Tensor, Tensor]:
        """(cos, sin) of every proper torsion, then of every improper one, each (batch, torsion)."""
        p0, p1, p2, p3 = (x[:, self.torsions[:, k]] for k in range(4))
        b0, b1, b2 = p1 - p0, p2 - p1, p3 - p2
        n0, n1 = torch.linalg.cross(b0, b1), torch.linalg.cross(b1, b2)
        norm = ((n0.square().sum(-1) + _COLLINEAR_NM4) * (n1.square().sum(-1) + _COLLINEAR_NM4)).sqrt()
        sine = (b0 * n1).sum(-1) * b1.square().sum(-1).clamp_min(1e-12).sqrt()
        return (n0 * n1).sum(-1) / norm, sine / norm

    def handedness(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch triple"]:
        """Softened triple products of branch centroids, in (-1, 1)."""
        flat = self.centroids.to(x.dtype).flatten(0, 1) @ x.transpose(0, 1).flatten(1)  # one product, not one per batch
        u = flat.reshape(*self.centroids.shape[:2], len(x), 3).permute(2, 0, 1, 3)
        volume = (u[:, :, 0] * torch.linalg.cross(u[:, :, 1], u[:, :, 2])).sum(-1)
        return volume / (u.square().sum(-1) + _SOFT_LENGTH_SQUARED_NM2).prod(-1).sqrt()


def _impropers(topology: Topology) -> list[tuple[int, int, int, int]]:
    """Improper torsions of every three-coordinated center, the center third, as in the Amber force fields."""
    found = []
    for center, around in enumerate(topology.neighbors):
        if len(around) == 3:
            a, b, c = around
            found += [(a, b, center, c), (b, c, center, a), (c, a, center, b)]
    return found


def _handedness_triples(topology: Topology) -> Tensor:
    """Linear maps (triple, 3, atom) from positions to the three vectors of every triple product.

    Around a four-coordinated center: any three of its branches. Across a torsion i-j-k-l: the branches at
    both ends and the axis between them.
    """
    triples = []
    for center, around in enumerate(topology.neighbors):
        if len(around) == 4:
            for depth in BRANCH_DEPTHS:
                branches = [_branch_vector(topology, center, start, depth) for start in around]
                triples += [torch.stack(three) for three in combinations(branches, 3)]
    for i, j, k, m in topology.torsions:
        axis = _unit(topology, k) - _unit(topology, j)
        for depth in BRANCH_DEPTHS[1:]:
            ends = _branch_vector(topology, j, i, depth), _branch_vector(topology, k, m, depth)
            triples.append(torch.stack((ends[0], axis, ends[1])))
    return torch.stack(triples)


def _branch_vector(topology: Topology, root: int, start: int, depth: int) -> Tensor:
    """Row that maps positions to (centroid of the branch within `depth` bonds of `start`) - root."""
    members = {start}
    for _ in range(depth):
        members |= {n for m in members for n in topology.neighbors[m] if n != root}
    rows = torch.stack([_unit(topology, m) for m in sorted(members)])
    return rows.mean(0) - _unit(topology, root)


def _unit(topology: Topology, index: int) -> Tensor:
    return torch.eye(topology.n_atoms)[index]

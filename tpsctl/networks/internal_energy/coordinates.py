"""Invariant features of a molecule: distances, angles, torsions and handedness.

All features are invariant under rotation and translation. Under reflection, handedness and the sines of torsions change
sign. From noised structures a network can hardly learn the handedness: the triple product of single atoms is lost in
the noise at the noise widths that decide its sign. Triple products of branch centroids u (the mean over all atoms
within `depth` bonds of the start of a branch, minus its root) preserve it:

    h = det(u_1, u_2, u_3) / sqrt( prod_k (|u_k|^2 + 0.05 nm^2) ) .

Angles and torsions are softened according to the noise: if three noised atoms lie in line, the gradient of an
unsoftened torsion diverges, and one such structure in a thousand is enough to make a sampler fail.

`InternalCoordinates` holds tables only and no trainable parameters.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology

BRANCH_DEPTHS = (0, 1, 3)
"""Depths of branch centroids: the number of bonds from the start of a branch within which atoms are averaged."""

SOFT_LENGTH_SQUARED_NM2 = 0.05
_COLLINEAR_NM4 = 1e-8
"""This softening keeps angles and torsions smooth for atoms in line; |b0 x b1|^2 of usual bonds is 4e-4 nm^4."""

_SOFT_ARM_NM = 0.1
"""Noise of width sigma adds about (0.1 nm sigma)^2 to |b0 x b1|^2; a smaller normal has a meaningless direction."""


@dataclass(frozen=True)
class Invariants:
    """Values of all features of a batch.

    Attributes:
        distances: All pair distances, nm.
        angles: Every bond angle, rad.
        cos: Cosine of every proper torsion, then of every improper one.
        sin: Sines of the same torsions.
        handedness: Softened triple products, in (-1, 1).
    """

    distances: Float[Tensor, "batch pair"]
    angles: Float[Tensor, "batch angle"]
    cos: Float[Tensor, "batch torsion"]
    sin: Float[Tensor, "batch torsion"]
    handedness: Float[Tensor, "batch triple"]


class InternalCoordinates(nn.Module):
    """Computes the features of one molecule from positions.

    Every feature is a function of one to three vectors that are linear in the positions (bond vectors, branch
    centroids). `vectors` computes all of them by one matrix product, and each feature uses its own rows of the result.

    Args:
        topology: Molecule with bonds; at least 4 atoms.

    Attributes:
        maps: For each group (pairs, angles, torsions, handedness) the matrix from positions to vectors, (item, vector,
            atom).
        far: Indices of the pairs that are three or more bonds apart.
        n_proper: Number of proper torsions; they come first.
    """

    far: Tensor
    stacked: Tensor

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        pairs = list(combinations(range(topology.n_atoms), 2))
        near = {tuple(sorted(bond)) for bond in topology.bonds} | {tuple(sorted((i, k))) for i, _, k in topology.angles}
        torsions = [*topology.torsions, *_impropers(topology)]
        unit = torch.eye(topology.n_atoms)
        groups = {
            "pairs": [[unit[i] - unit[j]] for i, j in pairs],
            "angles": [[unit[i] - unit[o], unit[k] - unit[o]] for i, o, k in topology.angles],
            "torsions": [[unit[j] - unit[i], unit[k] - unit[j], unit[m] - unit[k]] for i, j, k, m in torsions],
            "handedness": _handedness_triples(topology),
        }
        self._shapes = {name: (len(items), len(items[0])) for name, items in groups.items()}
        rows = [torch.stack(item) for items in groups.values() for item in items]
        self.n_proper = len(topology.torsions)
        self.register_buffer("stacked", torch.cat(rows), persistent=False)
        far = torch.tensor([n for n, pair in enumerate(pairs) if pair not in near])
        self.register_buffer("far", far, persistent=False)

    @property
    def n_pairs(self) -> int:
        return self._shapes["pairs"][0]

    @property
    def n_angles(self) -> int:
        return self._shapes["angles"][0]

    @property
    def n_torsions(self) -> int:
        return self._shapes["torsions"][0]

    @property
    def n_handedness(self) -> int:
        return self._shapes["handedness"][0]

    @property
    def maps(self) -> dict[str, Tensor]:
        return {name: part.squeeze(0) for name, part in self.by_group(self.stacked.unsqueeze(0)).items()}

    def by_group(self, rows: Float[Tensor, "batch row last"]) -> dict[str, Float[Tensor, "batch item vector last"]]:
        """Split the rows of all groups into one tensor per group."""
        parts = rows.split([items * vectors for items, vectors in self._shapes.values()], dim=1)
        return {
            name: part.reshape(len(rows), *shape, rows.shape[2])
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def vectors(self, x: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch row 3"]:
        """The vectors of all groups for positions x, nm."""
        x = center(x)  # rows for centroids are stored in single precision, so they add up to zero only within 1e-8
        flat = self.stacked.to(x.dtype) @ x.transpose(0, 1).flatten(1)  # one product, not one per structure
        return flat.reshape(-1, len(x), 3).transpose(0, 1)

    def forward(self, x: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Invariants:
        return self.invariants(self.by_group(self.vectors(x)), sigma)

    def softening(self, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, "batch_or_1 1"]:
        """The number that is added to squared normals of angles and torsions at noise of width sigma (nm), nm^4."""
        return ((_SOFT_ARM_NM * sigma).square() + _COLLINEAR_NM4).unsqueeze(1)

    def invariants(
        self, v: dict[str, Float[Tensor, "batch item vector 3"]], sigma: Float[Tensor, " batch_or_1"]
    ) -> Invariants:
        """Features from the vectors of each group, for noise of width sigma (nm)."""
        soft = self.softening(sigma)
        distances = v["pairs"][:, :, 0].square().sum(-1).clamp_min(1e-12).sqrt()
        cos, sin = _torsion(v["torsions"], soft)
        return Invariants(distances, bond_angle(v["angles"], soft), cos, sin, handedness(v["handedness"]))


def bond_angle(v: Float[Tensor, "batch item 2 3"], soft: Float[Tensor, "batch_or_1 1"]) -> Float[Tensor, "batch item"]:
    """Angles between two vectors each, nm, rad; softened by a number that is added to the squared sine, nm^4."""
    a, b = v.unbind(2)
    cosine = (a * b).sum(-1)
    sine_squared = a.square().sum(-1) * b.square().sum(-1) - cosine.square()
    return torch.atan2((sine_squared.clamp_min(0) + soft).sqrt(), cosine)


def _torsion(v: Float[Tensor, "batch item 3 3"], soft: Float[Tensor, "batch_or_1 1"]) -> tuple[Tensor, Tensor]:
    b0, b1, b2 = v.unbind(2)
    n0, n1 = cross(b0, b1), cross(b1, b2)
    norm = ((n0.square().sum(-1) + soft) * (n1.square().sum(-1) + soft)).sqrt()
    sine = (b0 * n1).sum(-1) * b1.square().sum(-1).clamp_min(1e-12).sqrt()
    return (n0 * n1).sum(-1) / norm, sine / norm


def handedness(v: Float[Tensor, "batch item 3 3"]) -> Float[Tensor, "batch item"]:
    a, b, c = v.unbind(2)
    return (a * cross(b, c)).sum(-1) / (v.square().sum(-1) + SOFT_LENGTH_SQUARED_NM2).prod(-1).sqrt()


def handedness_slopes(v: Float[Tensor, "batch item 3 3"]) -> Float[Tensor, "batch item 3 3"]:
    """Derivatives of `handedness` with respect to the three vectors, 1/nm."""
    a, b, c = v.unbind(2)
    turned = torch.stack((cross(b, c), cross(c, a), cross(a, b)), 2)
    det = (a * turned[:, :, 0]).sum(-1)[:, :, None, None]
    squared = v.square().sum(-1, keepdim=True) + SOFT_LENGTH_SQUARED_NM2
    return (turned - det * v / squared) / squared.prod(2, keepdim=True).sqrt()


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product by components; several times faster than torch.linalg.cross on small last dimensions."""
    (ax, ay, az), (bx, by, bz) = a.unbind(-1), b.unbind(-1)
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), -1)


def _impropers(topology: Topology) -> list[tuple[int, int, int, int]]:
    """Improper torsions of every three-coordinated atom, the atom third, as in the Amber force fields."""
    found = []
    for atom, around in enumerate(topology.neighbors):
        if len(around) == 3:
            a, b, c = around
            found += [(a, b, atom, c), (b, c, atom, a), (c, a, atom, b)]
    return found


def _handedness_triples(topology: Topology) -> list[list[Tensor]]:
    """Rows that map positions to the three vectors of every triple product.

    For a four-coordinated atom the vectors belong to any three of its branches. For a torsion i-j-k-l they are
    the branches at both ends and the axis between them.
    """
    triples = []
    for atom, around in enumerate(topology.neighbors):
        if len(around) == 4:
            for depth in BRANCH_DEPTHS:
                branches = [branch_vector(topology, atom, start, depth) for start in around]
                triples += [list(three) for three in combinations(branches, 3)]
    for i, j, k, m in topology.torsions:
        axis = _unit(topology, k) - _unit(topology, j)
        for depth in BRANCH_DEPTHS[1:]:
            triples.append([branch_vector(topology, j, i, depth), axis, branch_vector(topology, k, m, depth)])
    return triples


def branch_vector(topology: Topology, root: int, start: int, depth: int) -> Tensor:
    """Row that maps positions to (centroid of the branch within `depth` bonds of `start`) - root."""
    members = {start}
    for _ in range(depth):
        members |= {n for m in members for n in topology.neighbors[m] if n != root}
    rows = torch.stack([_unit(topology, m) for m in sorted(members)])
    return rows.mean(0) - _unit(topology, root)


def _unit(topology: Topology, index: int) -> Tensor:
    return torch.eye(topology.n_atoms)[index]

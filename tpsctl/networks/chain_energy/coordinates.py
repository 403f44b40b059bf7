"""Invariant features of a chain of beads: all pair distances, bond angles, and handedness along the chain.

Distances do not change in a mirror; handedness changes its sign. Its elementary form is the triple product of three
consecutive bond vectors, det(b_1, b_2, b_3), softened as

    h = det(v_1, v_2, v_3) / sqrt( prod_k (|v_k|^2 + 0.05 nm^2) ) .

With noise as wide as a bond this product is lost. Therefore every torsion has three such products: one of its bond
vectors, and two in which the outer vectors point to centroids of the chain on either side (within 1 and 3 bonds).

`ChainCoordinates` holds tables only and no trainable parameters.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.coordinates import (
    BRANCH_DEPTHS,
    bond_angle,
    branch_vector,
    handedness,
    handedness_slopes,
)

COLLINEAR_NM4 = 1e-8
"""This softening keeps angles smooth for beads in line; |b_0 x b_1|^2 of usual bonds is 2e-2 nm^4."""


@dataclass(frozen=True)
class ChainValues:
    """Values of all features of a batch.

    Attributes:
        distances: All pair distances, nm.
        angles: Bond angles, rad; none of them where the energy has no terms of angles.
        handedness: Softened triple products, in (-1, 1).
    """

    distances: Float[Tensor, "batch pair"]
    angles: Float[Tensor, "batch angle"]
    handedness: Float[Tensor, "batch triple"]

    @property
    def fitted(self) -> Float[Tensor, "batch coordinate"]:
        """The coordinates of which fitted energies are made: distances, then angles."""
        return torch.cat((self.distances, self.angles), 1)


class ChainVectors(NamedTuple):
    """The vectors of which all features are functions, nm; they are linear in the positions."""

    pairs: Float[Tensor, "batch pair 1 3"]
    angles: Float[Tensor, "batch angle 2 3"]
    triples: Float[Tensor, "batch triple 3 3"]


class ChainCoordinates(nn.Module):
    """Computes the features of a chain from positions.

    Every feature is a function of one to three vectors that are linear in the positions; `vectors` computes all of them
    by one matrix product.

    Args:
        topology: Beads and bonds; at least 4 beads, and at least one torsion.
        angles: Whether there are angles among the features.

    Attributes:
        beads: The beads of every fitted coordinate, (coordinate, 3): both of a pair, then -1; those of an angle, its
            center second.
    """

    stacked: Tensor
    beads: Tensor

    def __init__(self, topology: Topology, *, angles: bool) -> None:
        super().__init__()
        pairs = list(combinations(range(topology.n_atoms), 2))
        bends, triples = list(topology.angles) if angles else [], _triples(topology)
        unit = torch.eye(topology.n_atoms)
        rows = [unit[i] - unit[j] for i, j in pairs]
        rows += [unit[end] - unit[j] for i, j, k in bends for end in (i, k)]
        self.n_pairs, self.n_angles, self.n_triples = len(pairs), len(bends), len(triples)
        self.register_buffer("stacked", torch.cat((torch.stack(rows), *triples)), persistent=False)
        self.register_buffer("beads", torch.tensor([*((i, j, -1) for i, j in pairs), *bends]), persistent=False)

    @property
    def n_fitted(self) -> int:
        """Number of coordinates of which fitted energies are made."""
        return self.n_pairs + self.n_angles

    @property
    def maps(self) -> dict[str, Tensor]:
        """For each group of `ChainVectors` the matrix from positions to vectors, (item, vector, bead)."""
        return {name: part.squeeze(0) for name, part in self._by_group(self.stacked.unsqueeze(0))._asdict().items()}

    def vectors(self, x: Float[Tensor, "batch bead 3"]) -> ChainVectors:
        """The vectors of all features for positions x, nm."""
        flat = self.stacked.to(x.dtype) @ center(x).transpose(0, 1).flatten(1)
        return self._by_group(flat.reshape(-1, len(x), 3).transpose(0, 1))

    def forward(self, x: Float[Tensor, "batch bead 3"]) -> ChainValues:
        return self.values(self.vectors(x))

    def values(self, vectors: ChainVectors) -> ChainValues:
        """Features from their vectors."""
        return ChainValues(*self._fitted_values(vectors), handedness(vectors.triples))

    def fitted(self, vectors: ChainVectors) -> Float[Tensor, "batch coordinate"]:
        """The coordinates of which fitted energies are made, without handedness."""
        return torch.cat(self._fitted_values(vectors), 1)

    def _fitted_values(self, vectors: ChainVectors) -> tuple[Tensor, Tensor]:
        """Distances and angles."""
        distances = vectors.pairs.squeeze(2).square().sum(-1).clamp_min(1e-12).sqrt()
        return distances, bond_angle(vectors.angles, vectors.angles.new_full((1, 1), COLLINEAR_NM4))

    def slopes(self, vectors: ChainVectors) -> ChainVectors:
        """Derivatives of distances, angles and handedness with respect to their vectors, in closed form."""
        return ChainVectors(*self._fitted_slopes(vectors), handedness_slopes(vectors.triples))

    def _fitted_slopes(self, vectors: ChainVectors) -> tuple[Tensor, Tensor]:
        """Those of distances and angles.

        With c = a . b, R = |a|^2 |b|^2 + soft and S = sqrt(R - c^2), d theta = c dR / (2 R S) - dc / S.
        """
        lengths = vectors.pairs.square().sum(-1, keepdim=True).clamp_min(1e-12).sqrt()
        a, b = vectors.angles.unbind(2)
        c, a2, b2 = ((u * v).sum(-1, keepdim=True) for u, v in ((a, b), (a, a), (b, b)))
        s = ((a2 * b2 - c.square()).clamp_min(0) + COLLINEAR_NM4).sqrt()
        across = c / (s * (a2 * b2 + COLLINEAR_NM4))
        return vectors.pairs / lengths, torch.stack((across * b2 * a - b / s, across * a2 * b - a / s), 2)

    def bead_slopes(self, vectors: ChainVectors) -> Float[Tensor, "batch coordinate 3 3"]:
        """Derivatives of every fitted coordinate with respect to its beads, in the order of `beads`; 0 for none."""
        pairs, angles = self._fitted_slopes(vectors)
        of_pairs = torch.cat((pairs, -pairs, torch.zeros_like(pairs)), 2)
        at_a, at_b = angles.unbind(2)
        return torch.cat((of_pairs, torch.stack((at_a, -at_a - at_b, at_b), 2)), 1)

    def pull(self, vectors: ChainVectors, rates: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch bead 3"]:
        """The gradient of an energy with respect to positions from its derivatives by features.

        Args:
            vectors: The vectors of all features.
            rates: Derivatives by distances, then angles and, unless the energy knows none, handedness.
        """
        groups = self._fitted_slopes(vectors) if rates.shape[1] == self.n_fitted else self.slopes(vectors)
        parts = rates.split([slopes.shape[1] for slopes in groups], 1)
        pulls = [(slopes * part[:, :, None, None]).flatten(1, 2) for slopes, part in zip(groups, parts, strict=True)]
        pulled = torch.cat(pulls, 1)
        return torch.einsum("ra,brd->bad", self.stacked[: pulled.shape[1]].to(pulled.dtype), pulled)

    def _by_group(self, rows: Float[Tensor, "batch row last"]) -> ChainVectors:
        counts = (self.n_pairs, 1), (self.n_angles, 2), (self.n_triples, 3)
        parts = rows.split([items * vectors for items, vectors in counts], dim=1)
        return ChainVectors(*(part.unflatten(1, count) for part, count in zip(parts, counts, strict=True)))


def _triples(topology: Topology) -> list[Float[Tensor, "3 bead"]]:
    """Rows that map positions to the three vectors of every triple product."""
    unit = torch.eye(topology.n_atoms)
    found = []
    for i, j, k, m in topology.torsions:
        axis = unit[k] - unit[j]
        found.append(torch.stack((unit[j] - unit[i], axis, unit[m] - unit[k])))
        for depth in BRANCH_DEPTHS[1:]:
            ends = branch_vector(topology, j, i, depth), branch_vector(topology, k, m, depth)
            found.append(torch.stack((ends[0], axis, ends[1])))
    return found

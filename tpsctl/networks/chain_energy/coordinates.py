"""Invariant features of a chain of beads: all pair distances, and handedness along the chain.

Distances do not change in a mirror; handedness changes its sign. Its elementary form is the triple product of three
consecutive bond vectors, det(b_1, b_2, b_3), softened as

    h = det(v_1, v_2, v_3) / sqrt( prod_k (|v_k|^2 + 0.05 nm^2) ) .

With noise as wide as a bond this product is lost. Therefore every torsion has three such products: one of its bond
vectors, and two in which the outer vectors point to centroids of the chain on either side (within 1 and 3 bonds).

`ChainCoordinates` holds tables only and no trainable parameters.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.coordinates import BRANCH_DEPTHS, branch_vector, handedness


@dataclass(frozen=True)
class ChainValues:
    """Values of all features of a batch.

    Attributes:
        distances: All pair distances, nm.
        handedness: Softened triple products, in (-1, 1).
    """

    distances: Float[Tensor, "batch pair"]
    handedness: Float[Tensor, "batch triple"]


class ChainCoordinates(nn.Module):
    """Computes the features of a chain from positions.

    Every feature is a function of one or three vectors that are linear in the positions; `vectors` computes all of them
    by one matrix product.

    Args:
        topology: Beads and bonds; at least 4 beads, and at least one torsion.

    Attributes:
        pairs: Both beads of every pair, (pair, 2), in the order of the distances.
    """

    stacked: Tensor
    pairs: Tensor

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        pairs = list(combinations(range(topology.n_atoms), 2))
        triples = _triples(topology)
        unit = torch.eye(topology.n_atoms)
        rows = [torch.stack([unit[i] - unit[j] for i, j in pairs]), torch.stack(triples).flatten(0, 1)]
        self.n_pairs, self.n_triples = len(pairs), len(triples)
        self.register_buffer("stacked", torch.cat(rows), persistent=False)
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)

    @property
    def maps(self) -> dict[str, Tensor]:
        """For each group, pairs and triples, the matrix from positions to vectors, (item, vector, bead)."""
        pairs, triples = self.stacked.split([self.n_pairs, 3 * self.n_triples])
        return {"pairs": pairs.unsqueeze(1), "triples": triples.unflatten(0, (self.n_triples, 3))}

    def vectors(
        self, x: Float[Tensor, "batch bead 3"]
    ) -> tuple[Float[Tensor, "batch pair 1 3"], Float[Tensor, "batch triple 3 3"]]:
        """The vectors of all pairs and triples for positions x, nm."""
        flat = self.stacked.to(x.dtype) @ center(x).transpose(0, 1).flatten(1)
        pairs, triples = flat.reshape(-1, len(x), 3).transpose(0, 1).split([self.n_pairs, 3 * self.n_triples], dim=1)
        return pairs.unsqueeze(2), triples.unflatten(1, (self.n_triples, 3))

    def forward(self, x: Float[Tensor, "batch bead 3"]) -> ChainValues:
        return self.values(*self.vectors(x))

    def values(self, pairs: Float[Tensor, "batch pair 1 3"], triples: Float[Tensor, "batch triple 3 3"]) -> ChainValues:
        """Features from the vectors of pairs and triples."""
        return ChainValues(pairs.squeeze(2).square().sum(-1).clamp_min(1e-12).sqrt(), handedness(triples))


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

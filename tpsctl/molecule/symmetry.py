"""Symmetry of a molecule: its equivalent atoms, and its centers with a handedness.

Equivalence comes from the bond graph alone, by color refinement (Weisfeiler and Leman): atoms start
with a label (the element) and are split by the multiset of their neighbors' colors until nothing
changes. Atoms left in one class can, for molecules, be exchanged by a symmetry of the graph: the
hydrogens of a methyl group, the two sides of a phenyl ring, the oxygens of a carboxylate.

The handedness of a tetrahedral center o with neighbors a, b, c, d is the sign of the determinant of
three unit vectors u_a, u_b, u_c pointing from o. For a regular tetrahedron all four choices of three
neighbors give, with alternating sign, the same value 4/(3 sqrt 3) = 0.77; a path that turns the
center inside out drives at least one of them through zero.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology

TETRAHEDRAL_ELEMENTS = frozenset({"C", "N", "Si", "P", "S"})
"""Elements whose four neighbors sit on a tetrahedron (metal ions may be square planar)."""

PYRAMIDAL_DETERMINANT = 0.4
"""Determinant of unit vectors above which a three-coordinate carbon is taken as sp3 with its hydrogen left out.

Half of the tetrahedral 0.77; a planar sp2 carbon has 0.
"""

Neighbors = Sequence[Sequence[int]]


def refine(neighbors: Neighbors, labels: Sequence[Hashable]) -> list[int]:
    """Color the vertices of a graph so that vertices which refinement cannot tell apart have equal colors.

    The numbers depend on labels and graph only, not on the order of the vertices, so the colors of two
    molecules can be compared when both are refined as one graph.
    """
    colors = _ranked(labels)
    while True:
        finer = _ranked([(colors[i], tuple(sorted(colors[j] for j in around))) for i, around in enumerate(neighbors)])
        if max(finer, default=0) == max(colors, default=0):
            return finer
        colors = finer


def _ranked(labels: Sequence[Hashable]) -> list[int]:
    rank = {label: i for i, label in enumerate(sorted(set(labels), key=_order))}
    return [rank[label] for label in labels]


def _order(label: Hashable) -> tuple[str, Hashable]:
    return (type(label).__name__, label)


def equivalence_classes(topology: Topology) -> list[int]:
    """Color of every atom; atoms of one color are equivalent in the bond graph."""
    return refine(topology.neighbors, [atom.element for atom in topology.atoms])


@dataclass(frozen=True)
class StereoCenters:
    """Atoms that have a handedness, each with its three or four neighbors in ascending order."""

    atoms: tuple[int, ...]
    neighbors: tuple[tuple[int, ...], ...]

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """Indices (center, 4, 3) of the neighbors in each determinant, and its sign (center, 4)."""
        rows, signs = [], []
        for around in self.neighbors:
            a, b, c, d = around if len(around) == 4 else (*around, -1)
            if d < 0:
                rows.append([[a, b, c]] * 4)
                signs.append([1.0] * 4)
            else:
                rows.append([[a, b, c], [a, b, d], [a, c, d], [b, c, d]])
                signs.append([1.0, -1.0, 1.0, -1.0])
        return torch.tensor(rows, dtype=torch.long).reshape(-1, 4, 3), torch.tensor(signs).reshape(-1, 4)

    def determinants(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch center 4"]:
        """The four signed determinants of every center; all about +0.77 or all about -0.77 if undistorted."""
        rows, signs = self._rows
        centers = torch.tensor(self.atoms, dtype=torch.long, device=x.device)
        arms = x[..., rows.to(x.device), :] - x[..., centers, None, None, :]
        arms = arms / arms.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        return torch.linalg.det(arms) * signs.to(x)

    def handedness(self, x: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch center"]:
        """+1 or -1 for every center: the sign of the mean determinant."""
        return torch.sign(self.determinants(x).mean(-1))


def stereo_centers(topology: Topology, x: Float[Tensor, "frame bead 3"]) -> StereoCenters:
    """Find the centers with a handedness in these structures (nm).

    A center has four neighbors, or it is a pyramidal carbon with three. The latter is an sp3 carbon whose
    hydrogen is not part of the molecule (heavy atoms only); it must be pyramidal in all given frames.
    """
    four = [i for i, n in enumerate(topology.neighbors) if len(n) == 4 and _is(topology, i, TETRAHEDRAL_ELEMENTS)]
    three = [i for i, n in enumerate(topology.neighbors) if len(n) == 3 and _is(topology, i, {"C"})]
    if three:
        candidates = StereoCenters(tuple(three), tuple(topology.neighbors[i] for i in three))
        pyramidal = (candidates.determinants(x).mean(-1).abs() > PYRAMIDAL_DETERMINANT).all(0)
        three = [i for i, yes in zip(three, pyramidal.tolist(), strict=True) if yes]
    atoms = sorted(four + three)
    return StereoCenters(tuple(atoms), tuple(topology.neighbors[i] for i in atoms))


def _is(topology: Topology, index: int, elements: frozenset[str] | set[str]) -> bool:
    return topology.atoms[index].element in elements

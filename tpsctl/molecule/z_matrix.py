"""The Z-matrix of a molecule: converts positions to internal coordinates along its bonds, and back.

Every atom is placed by a bond length r, an angle and a dihedral relative to three atoms that are placed before it:

    x = c + r ( -cos(angle) e1 + sin(angle) cos(dihedral) e2 + sin(angle) sin(dihedral) e3 )

where c is the bonded atom and e1, e2, e3 is the orthonormal frame that the three atoms span. Around each bond only the
first atom has the torsion as its dihedral; its siblings are placed relative to it. So a change of this one number turns
everything behind the bond rigidly, and the handedness of centers and the shape of planar groups do not change.

Source: Parsons et al., J. Comput. Chem. 26 (2005) 1063 (natural extension reference frame).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology


@dataclass(frozen=True)
class Placement:
    """The atoms relative to which one atom of a fragment is placed: bond c-atom, angle b-c-atom, dihedral a-b-c-atom.

    `a`, `b`, `c` are -1 if the fragment has no such atom yet. If `torsion` is true, the dihedral is the
    torsion about the bond b-c; otherwise it is relative to a sibling.
    """

    atom: int
    a: int
    b: int
    c: int
    torsion: bool


@dataclass(frozen=True)
class ZMatrixValues:
    """Bond lengths (nm), angles and dihedrals (rad), each (..., atom); 0 where a fragment's first atoms have none."""

    lengths: Tensor
    angles: Tensor
    dihedrals: Tensor


class ZMatrix:
    """Converts between the positions and the internal coordinates of one molecule, which may have several fragments.

    A fragment is a set of atoms that bonds connect.
    """

    def __init__(self, topology: Topology) -> None:
        self.fragments: list[list[Placement]] = []
        placed: set[int] = set()
        for root in range(topology.n_atoms):
            if root not in placed:
                fragment = _placements(topology, root)
                placed.update(p.atom for p in fragment)
                self.fragments.append(fragment)
        self.placements = [p for fragment in self.fragments for p in fragment]

    @property
    def torsions(self) -> dict[tuple[int, int], int]:
        """For every bond that has a torsion, as a sorted index pair, the atom whose dihedral is this torsion."""
        return {(min(p.b, p.c), max(p.b, p.c)): p.atom for p in self.placements if p.torsion}

    def to_internal(self, x: Float[Tensor, "*batch bead 3"]) -> ZMatrixValues:
        """Internal coordinates of configurations, nm and rad."""
        lengths, angles, dihedrals = (torch.zeros_like(x[..., 0]) for _ in range(3))
        for p in self.placements:
            if p.c >= 0:
                arm = x[..., p.atom, :] - x[..., p.c, :]
                lengths[..., p.atom] = arm.norm(dim=-1)
            if p.b >= 0:
                back = x[..., p.b, :] - x[..., p.c, :]
                sine = torch.linalg.cross(arm, back).norm(dim=-1)
                angles[..., p.atom] = torch.atan2(sine, (arm * back).sum(-1))
            if p.a >= 0:
                row = torch.tensor([[p.a, p.b, p.c, p.atom]])
                dihedrals[..., p.atom] = dihedral(x, row)[..., 0]
        return ZMatrixValues(lengths, angles, dihedrals)

    def to_positions(self, q: ZMatrixValues) -> Float[Tensor, "*batch bead 3"]:
        """Positions (nm) with these internal coordinates.

        Every fragment has its first atom at the origin, so the fragments' relative positions are lost.
        """
        x: list[Tensor] = [torch.empty(0)] * q.lengths.shape[-1]
        zero = torch.zeros_like(q.lengths[..., :1]).expand(*q.lengths.shape[:-1], 3)
        x_axis, y_axis = zero + zero.new_tensor([1.0, 0.0, 0.0]), zero + zero.new_tensor([0.0, 1.0, 0.0])
        for p in self.placements:
            r, angle, turn = (v[..., p.atom, None] for v in (q.lengths, q.angles, q.dihedrals))
            if p.c < 0:
                x[p.atom] = zero
            elif p.b < 0:
                x[p.atom] = x[p.c] + r * x_axis
            else:
                e1 = _unit(x[p.c] - x[p.b])
                behind = x[p.b] - x[p.a] if p.a >= 0 else y_axis
                normal = _unit(torch.linalg.cross(behind, e1))
                e2 = torch.linalg.cross(normal, e1)
                out = torch.cos(turn) * e2 + torch.sin(turn) * normal
                x[p.atom] = x[p.c] + r * (torch.sin(angle) * out - torch.cos(angle) * e1)
        return torch.stack(x, -2)


def _placements(topology: Topology, root: int) -> list[Placement]:
    """Breadth-first placement of the fragment that holds `root`, heavy atoms before hydrogens."""
    parent = {root: -1}
    first_child: dict[int, int] = {}
    rows = [Placement(root, -1, -1, -1, torsion=False)]
    queue = [root]
    while queue:
        c = queue.pop(0)
        for atom in sorted(topology.neighbors[c], key=lambda i: (topology.atoms[i].element == "H", i)):
            if atom in parent:
                continue
            rows.append(_placement(atom, c, parent, first_child))
            parent[atom] = c
            first_child.setdefault(c, atom)
            queue.append(atom)
    return rows


def _placement(atom: int, c: int, parent: dict[int, int], first_child: dict[int, int]) -> Placement:
    """The placement of an atom bonded to c, from the atoms that are already placed around c."""
    b = parent[c]
    sibling = first_child.get(c, -1)
    if b < 0:  # c is the root, so its first child takes the place of b
        a = -1 if sibling < 0 else _other_child(c, sibling, parent)
        return Placement(atom, a, sibling, c, torsion=False)
    if sibling >= 0:
        return Placement(atom, sibling, b, c, torsion=False)
    a = parent[b] if parent[b] >= 0 else _other_child(b, c, parent)
    return Placement(atom, a, b, c, torsion=a >= 0)


def _other_child(of: int, not_atom: int, parent: dict[int, int]) -> int:
    """An atom other than `not_atom` that is bonded to `of` and already placed; -1 if there is none."""
    return next((i for i, p in parent.items() if p == of and i != not_atom), -1)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)


def wrapped(angle: Tensor) -> Tensor:
    """The same angle in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi

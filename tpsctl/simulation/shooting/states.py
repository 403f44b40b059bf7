"""States A and B of a transition as ranges of geometric quantities: a frame is in a state if it meets all conditions.

Conditions are evaluated for many frames at once, because that takes hardly longer than for one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.molecule.contacts import NativeContacts
from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.symmetry import StereoCenters, stereo_centers
from tpsctl.molecule.topology import Topology

NEITHER, IN_A, IN_B = 0, 1, 2
"""Where a frame is."""

MOST_STRETCH = 0.25
"""A bond that is longer or shorter by this fraction is broken; at 300 K a bond to hydrogen fluctuates by 0.03."""


class Condition(ABC):
    """A range of one quantity."""

    @abstractmethod
    def holds(self, x: Float[Tensor, "frame bead dim"]) -> Bool[Tensor, " frame"]:
        """Whether frames (nm) are in the range."""


@dataclass(frozen=True)
class DihedralRange(Condition):
    """A dihedral between two angles, counted upwards from the first one, so that a range may cross 180 degrees."""

    atoms: tuple[int, int, int, int]
    from_rad: float
    to_rad: float

    def holds(self, x: Tensor) -> Tensor:
        angle = dihedral(x, torch.tensor([self.atoms])).squeeze(-1)
        turn = 2 * math.pi
        return (angle - self.from_rad).remainder(turn) <= (self.to_rad - self.from_rad) % turn


@dataclass(frozen=True)
class DistanceRange(Condition):
    """The distance of two beads, nm."""

    beads: tuple[int, int]
    from_nm: float
    to_nm: float

    def holds(self, x: Tensor) -> Tensor:
        i, j = self.beads
        distance = (x[:, i] - x[:, j]).norm(dim=-1)
        return (distance >= self.from_nm) & (distance <= self.to_nm)


@dataclass(frozen=True, eq=False)
class RmsdBelow(Condition):
    """The least RMSD of some beads from a reference structure (bead, 3), nm, after superposition."""

    reference: Float[Tensor, "bead 3"]
    beads: Int[Tensor, " chosen"]
    below_nm: float

    def holds(self, x: Tensor) -> Tensor:
        return rmsd(x[:, self.beads], self.reference[self.beads].expand(len(x), -1, -1)) < self.below_nm


@dataclass(frozen=True, eq=False)
class ContactsFormed(Condition):
    """The fraction of native contacts Q."""

    contacts: NativeContacts
    from_q: float
    to_q: float

    def holds(self, x: Tensor) -> Tensor:
        q = self.contacts.fraction(x)
        return (q >= self.from_q) & (q <= self.to_q)


@dataclass(frozen=True, eq=False)
class TorsionsWithin(Condition):
    """The root-mean-square deviation of several torsions from their values in a reference, rad.

    One number for all torsions is used because the chance that every one of many torsions is within its own window
    falls exponentially with their number.
    """

    quadruples: Int[Tensor, "torsion 4"]
    reference_rad: Float[Tensor, " torsion"]
    within_rad: float

    def holds(self, x: Tensor) -> Tensor:
        away = (dihedral(x, self.quadruples) - self.reference_rad + math.pi).remainder(2 * math.pi) - math.pi
        return away.square().mean(-1).sqrt() < self.within_rad


@dataclass(frozen=True, eq=False)
class PointWithin(Condition):
    """The distance of all coordinates from a point, nm; for model potentials, which nothing is superposed in."""

    point: Float[Tensor, "bead dim"]
    within_nm: float

    def holds(self, x: Tensor) -> Tensor:
        return (x - self.point).square().sum((1, 2)).sqrt() < self.within_nm


@dataclass(frozen=True, eq=False)
class Intact(Condition):
    """Whether a molecule still is what it was: all bonds near their lengths, every stereocenter with its handedness.

    Where atoms overlap, as on a straight line between two structures, the dynamics begins with an explosion. Torsions
    and distances of such a wreck may be in any range, but it is in no state.

    Attributes:
        bonds: Bonded pairs.
        length_nm: Their lengths.
        centers: The stereocenters.
        handedness: Their signs.
    """

    bonds: Int[Tensor, "bond 2"]
    length_nm: Float[Tensor, " bond"]
    centers: StereoCenters
    handedness: Float[Tensor, " center"]

    @classmethod
    def like(cls, topology: Topology, x: Float[Tensor, "bead 3"]) -> "Intact":
        """The condition that a molecule is like this structure, nm."""
        bonds = torch.tensor(topology.bonds, dtype=torch.int64).reshape(-1, 2)
        centers = stereo_centers(topology, x.unsqueeze(0))
        return cls(bonds, _lengths(x.unsqueeze(0), bonds)[0], centers, centers.handedness(x.unsqueeze(0))[0].sign())

    def holds(self, x: Tensor) -> Tensor:
        stretch = (_lengths(x, self.bonds) / self.length_nm - 1).abs()
        same = self.centers.handedness(x).sign() == self.handedness
        return (stretch < MOST_STRETCH).all(-1) & same.all(-1)


@dataclass(frozen=True)
class TwoStates:
    """Both states; a frame that meets the conditions of both counts as in A."""

    a: Sequence[Condition]
    b: Sequence[Condition]

    def where(self, x: Float[Tensor, "frame bead dim"]) -> Int[Tensor, " frame"]:
        """`IN_A`, `IN_B` or `NEITHER` for every frame, nm."""
        found = torch.full((len(x),), NEITHER)
        found[_meets(self.b, x)] = IN_B
        found[_meets(self.a, x)] = IN_A
        return found

    def overlap(self, x: Float[Tensor, "frame bead dim"]) -> Bool[Tensor, " frame"]:
        """Whether frames, nm, meet the conditions of both states."""
        return _meets(self.a, x) & _meets(self.b, x)


def _meets(conditions: Sequence[Condition], x: Tensor) -> Tensor:
    met = torch.ones(len(x), dtype=torch.bool)
    for condition in conditions:
        if not bool(met.any()):
            break
        met &= condition.holds(x)
    return met


def _lengths(x: Tensor, bonds: Tensor) -> Tensor:
    return (x[:, bonds[:, 0]] - x[:, bonds[:, 1]]).norm(dim=-1)

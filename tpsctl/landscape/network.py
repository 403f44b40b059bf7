"""The network of minima and saddles that a search has found, where each state occurs once with a count of its finds.

Minima are nodes and saddles are edges; two saddles between the same minima are two edges. Duplicates are merged by
energy, torsions and superposition, after equivalent atoms are relabeled unless labels are kept
(`tpsctl.landscape.equivalence`). Finds are merged in a fixed order, so that the same finds give the same network.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.equivalence import SAME_ENERGY, Equivalence


@dataclass(frozen=True)
class Minimum:
    """A local minimum of the energy.

    Attributes:
        x: Configuration, nm.
        energy: Potential energy, kJ/mol.
        times_found: How often a search reached it.
        searched: Number of local searches that started from it.
    """

    x: Float[Tensor, "atom dim"]
    energy: float
    times_found: int = 1
    searched: int = 0


@dataclass(frozen=True)
class Saddle:
    """A stationary point with one negative curvature, and the minima on both sides.

    Attributes:
        x: Configuration, nm.
        energy: Potential energy, kJ/mol.
        gradient_norm: |grad U|, kJ/mol/nm.
        index: Number of negative curvatures, which is 1.
        wavenumbers: The lowest wavenumbers, cm^-1; the first is negative.
        ends: Numbers of the two minima that it joins.
        sides: The configurations of these minima as they were reached downhill, nm; they may differ from those in the
            network by labels and rigid motion.
        times_found: How often a search reached it.
        varied: How often a variant of it was sought.
    """

    x: Float[Tensor, "atom dim"]
    energy: float
    gradient_norm: float
    index: int
    wavenumbers: tuple[float, ...]
    ends: tuple[int, int]
    sides: Float[Tensor, "2 atom dim"]
    times_found: int = 1
    varied: int = 0


@dataclass(frozen=True)
class Find:
    """A saddle as one search found it, with both sides followed down.

    Attributes:
        saddle: The saddle, whose `ends` are only set when it is added to a network.
        side_energies: Energies of the minima on both sides, kJ/mol.
    """

    saddle: Saddle
    side_energies: tuple[float, float]


@dataclass
class Network:
    """All states found so far.

    Attributes:
        equivalence: Decides whether two configurations are the same state.
        minima: The minima in the order found; the start is number 0 and the end number 1 (0 if they are the same).
        saddles: The saddles in the order found.
        tries: How often a connection of two minima was sought, by their numbers.
    """

    equivalence: Equivalence
    minima: list[Minimum] = field(default_factory=list)
    saddles: list[Saddle] = field(default_factory=list)
    tries: dict[tuple[int, int], int] = field(default_factory=dict)

    def add_minimum(self, x: Float[Tensor, "atom dim"], energy: float, *, count: int = 1) -> int:
        """Add a minimum (nm, kJ/mol) with `count` finds, or add them to a known one, and return its number."""
        for i, known in enumerate(self.minima):
            if self.equivalence.same(x, known.x, (energy, known.energy)) is not None:
                self.minima[i] = replace(known, times_found=known.times_found + count)
                return i
        self.minima.append(Minimum(x, energy, count))
        return len(self.minima) - 1

    def find_saddle(self, x: Float[Tensor, "atom dim"], energy: float) -> int | None:
        """The number of the known saddle at this configuration (nm, kJ/mol), or None."""
        for i, known in enumerate(self.saddles):
            if self.equivalence.same(x, known.x, (energy, known.energy)) is not None:
                return i
        return None

    def add(self, find: Find) -> int:
        """Add a find, count it if its saddle is known, and return the saddle's number; new minima are added as well."""
        known = self.find_saddle(find.saddle.x, find.saddle.energy)
        if known is not None:
            self.seen_again(known)
            return known
        ends = [self.add_minimum(x, e) for x, e in zip(find.saddle.sides, find.side_energies, strict=True)]
        self.saddles.append(replace(find.saddle, ends=(ends[0], ends[1])))
        return len(self.saddles) - 1

    def seen_again(self, saddle: int) -> None:
        """Count one more find of a known saddle."""
        known = self.saddles[saddle]
        self.saddles[saddle] = replace(known, times_found=known.times_found + 1)

    def was_searched(self, minimum: int) -> None:
        """Count a local search from a minimum."""
        known = self.minima[minimum]
        self.minima[minimum] = replace(known, searched=known.searched + 1)

    def was_varied(self, saddle: int) -> None:
        """Count a search for a variant of a saddle."""
        known = self.saddles[saddle]
        self.saddles[saddle] = replace(known, varied=known.varied + 1)

    def was_tried(self, first: int, second: int) -> int:
        """Count one more search for a connection of two minima, and return the number of those before it."""
        pair = (min(first, second), max(first, second))
        before = self.tries.get(pair, 0)
        self.tries[pair] = before + 1
        return before

    @property
    def positions(self) -> Float[Tensor, "minimum atom dim"]:
        """The configurations of all minima, nm."""
        return torch.stack([minimum.x for minimum in self.minima])


def missing_fraction(network: Network, below: float) -> float:
    """Good and Turing's estimate of the probability that the next saddle found below an energy is a new one.

    It is the number of saddles found exactly once, divided by the number of finds; 1 before anything is found. Saddles
    that join a minimum to itself, as those of a turning methyl do, lie on no route and are not counted: they are easy
    to find, and would make the estimate too small.

    Args:
        network: The states found, with counts of their finds.
        below: Only saddles up to this energy count, kJ/mol.

    Source: Good, Biometrika 40 (1953) 237, eq. 9.
    """
    counts = [
        saddle.times_found
        for saddle in network.saddles
        if saddle.energy <= below + SAME_ENERGY and saddle.ends[0] != saddle.ends[1]
    ]
    return sum(1 for count in counts if count == 1) / sum(counts) if counts else 1.0

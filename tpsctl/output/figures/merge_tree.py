"""The tree in which minima merge to larger and larger basins as the energy rises over their saddles."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

SAME_LEVEL = 1e-6
"""Saddles whose energies differ by less than this, kJ/mol, join their basins at one point of the tree."""


@dataclass(eq=False)
class Branch:
    """A minimum, or the basins that a saddle joins.

    Attributes:
        energy: Energy of the minimum or of the saddle, kJ/mol.
        minimum: Number of the minimum; None for joined basins.
        parts: The basins that are joined here.
        above: The branch of which this one is a part; None at the root.
        x: Horizontal position in a drawing.
    """

    energy: float
    minimum: int | None = None
    parts: "list[Branch]" = field(default_factory=list)
    above: "Branch | None" = None
    x: float = 0.0

    def all(self) -> "Iterator[Branch]":
        """This branch and everything below it."""
        yield self
        for part in self.parts:
            yield from part.all()

    def at(self, energy: float) -> "Branch":
        """The branch that holds this one at an energy, kJ/mol."""
        here = self
        while here.above is not None and here.above.energy <= energy + SAME_LEVEL:
            here = here.above
        return here


def merge_tree(
    minima: Sequence[float], saddles: Sequence[tuple[int, int, float]], kept: Collection[int]
) -> tuple[dict[int, Branch], list[Branch]]:
    """Merge the kept minima over the lowest saddles between them, which may pass other minima.

    Args:
        minima: Energies of all minima, kJ/mol.
        saddles: The two minima that each saddle joins, and its energy, kJ/mol.
        kept: Numbers of the minima that become leaves.

    Returns:
        The leaf of every kept minimum, and the roots: one for each part of the network that no saddle joins to others.
    """
    leaves = {i: Branch(minima[i], i) for i in kept}
    basin = list(range(len(minima)))
    branches: dict[int, Branch] = dict(leaves)

    def root(i: int) -> int:
        while basin[i] != i:
            basin[i] = basin[basin[i]]
            i = basin[i]
        return i

    for first, second, energy in sorted(saddles, key=lambda saddle: saddle[2]):
        i, j = root(first), root(second)
        if i == j:
            continue
        basin[j] = i
        below = [branch for branch in (branches.pop(i, None), branches.pop(j, None)) if branch is not None]
        if below:
            branches[i] = below[0] if len(below) == 1 else _joined(energy, below)
    return leaves, [branches[i] for i in sorted(branches)]


def arrange(roots: Sequence[Branch], left: Branch, right: Branch) -> None:
    """Set the horizontal positions: leaves at 0, 1, 2 ...; the basin of `left` comes first and that of `right` last.

    Between them, and where neither is among them, basins with lower minima come first.
    """

    def place(branch: Branch) -> tuple[bool, bool, float]:
        inside = list(branch.all())
        return left not in inside, right in inside and left not in inside, min(each.energy for each in inside)

    def settle(branch: Branch, count: int) -> int:
        if not branch.parts:
            branch.x = float(count)
            return count + 1
        branch.parts.sort(key=place)
        for part in branch.parts:
            count = settle(part, count)
        branch.x = (branch.parts[0].x + branch.parts[-1].x) / 2
        return count

    count = 0
    for root in sorted(roots, key=place):
        count = settle(root, count)


def _joined(energy: float, below: Sequence[Branch]) -> Branch:
    """The branch of a saddle; basins that were joined at the same energy become its parts."""
    made = Branch(energy)
    for branch in below:
        flat = branch.minimum is None and energy - branch.energy < SAME_LEVEL
        made.parts += branch.parts if flat else [branch]
    for part in made.parts:
        part.above = made
    return made

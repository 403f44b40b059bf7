"""Maps between bond graphs that keep labels and bonds."""

from collections.abc import Hashable, Iterator, Sequence

from tpsctl.molecule.symmetry import refine

Order = tuple[int, ...]
"""For each atom of the first molecule the index of its partner in the second."""


def isomorphisms(
    ours: Sequence[Sequence[int]],
    theirs: Sequence[Sequence[int]],
    our_labels: Sequence[Hashable],
    their_labels: Sequence[Hashable],
) -> Iterator[Order]:
    """All label- and bond-preserving maps ours -> theirs, by individualization and refinement."""
    n = len(ours)
    both = [*ours, *([n + j for j in around] for around in theirs)]
    colors = refine(both, [*our_labels, *their_labels])
    left, right = cells_of(colors[:n]), cells_of(colors[n:])
    if {c: len(m) for c, m in left.items()} != {c: len(m) for c, m in right.items()}:
        return
    opencells_of = [c for c, members in left.items() if len(members) > 1]
    if not opencells_of:
        order = tuple(right[color][0] for color in colors[:n])
        if all(sorted(order[j] for j in ours[i]) == sorted(theirs[order[i]]) for i in range(n)):
            yield order
        return
    cell = min(opencells_of, key=lambda c: (len(left[c]), c))
    first = left[cell][0]
    for candidate in right[cell]:
        our_colors = [(c, i == first) for i, c in enumerate(colors[:n])]
        their_colors = [(c, j == candidate) for j, c in enumerate(colors[n:])]
        yield from isomorphisms(ours, theirs, our_colors, their_colors)


def cells_of(colors: Sequence[int]) -> dict[int, list[int]]:
    cells: dict[int, list[int]] = {}
    for i, color in enumerate(colors):
        cells.setdefault(color, []).append(i)
    return cells

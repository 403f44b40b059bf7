"""Maps between bond graphs that keep labels and bonds."""

from collections.abc import Hashable, Iterator, Sequence

from tpsctl.molecule.symmetry import refine

Order = tuple[int, ...]
"""For each atom of the first molecule, the index of its partner in the second one."""


def isomorphisms(
    ours: Sequence[Sequence[int]],
    theirs: Sequence[Sequence[int]],
    our_labels: Sequence[Hashable],
    their_labels: Sequence[Hashable],
) -> Iterator[Order]:
    """All maps ours -> theirs that keep labels and bonds, found by individualization and refinement.

    Each graph is given by the neighbors and the label of every vertex.
    """
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


def first_isomorphism(
    ours: Sequence[Sequence[int]],
    theirs: Sequence[Sequence[int]],
    our_labels: Sequence[Hashable],
    their_labels: Sequence[Hashable],
) -> Order | None:
    """One map ours -> theirs that keeps labels and bonds, component by component; None if there is none.

    Components that refinement cannot tell apart are paired in order, so that many equal molecules cost one short
    search each. Refinement tells apart the graphs of almost all molecules. If a pair of components nevertheless
    differs, the graphs are searched as a whole.
    """
    n = len(ours)
    colors = refine([*ours, *([n + j for j in around] for around in theirs)], [*our_labels, *their_labels])
    left = _components(ours, colors[:n])
    right = _components(theirs, colors[n:])
    if {key: len(found) for key, found in left.items()} != {key: len(found) for key, found in right.items()}:
        return None
    order = [-1] * n
    for key, components in left.items():
        for mine, other in zip(components, right[key], strict=True):
            colored = [colors[i] for i in mine], [colors[n + j] for j in other]
            part = next(isomorphisms(_inside(ours, mine), _inside(theirs, other), *colored), None)
            if part is None:
                return next(isomorphisms(ours, theirs, our_labels, their_labels), None)
            for i, k in zip(mine, part, strict=True):
                order[i] = other[k]
    return tuple(order)


def _components(neighbors: Sequence[Sequence[int]], colors: Sequence[int]) -> dict[tuple[int, ...], list[list[int]]]:
    """Connected components as lists of ascending vertices, grouped by the sorted colors of their vertices."""
    seen: set[int] = set()
    found: dict[tuple[int, ...], list[list[int]]] = {}
    for start in range(len(neighbors)):
        if start in seen:
            continue
        component, todo = {start}, [start]
        while todo:
            for j in neighbors[todo.pop()]:
                if j not in component:
                    component.add(j)
                    todo.append(j)
        seen |= component
        found.setdefault(tuple(sorted(colors[i] for i in component)), []).append(sorted(component))
    return found


def _inside(neighbors: Sequence[Sequence[int]], component: Sequence[int]) -> list[list[int]]:
    """The graph of one component, with its vertices numbered from 0."""
    place = {i: k for k, i in enumerate(component)}
    return [[place[j] for j in neighbors[i]] for i in component]


def cells_of(colors: Sequence[int]) -> dict[int, list[int]]:
    """For every color, its vertices in ascending order."""
    cells: dict[int, list[int]] = {}
    for i, color in enumerate(colors):
        cells.setdefault(color, []).append(i)
    return cells

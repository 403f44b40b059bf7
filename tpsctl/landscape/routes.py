"""Routes on a network: the route with the lowest top, its alternatives, and gaps that no known saddle bridges.

The top of a route is its highest saddle. The minimax route from A to B is the path between them in the minimum spanning
tree whose weights are the saddles' energies: it has the lowest possible top, and so has each of its parts between the
minima at the part's ends. An alternative is the minimax route that remains when the tops of all better routes are
closed, so the tops of alternatives differ.
"""

import heapq
from collections.abc import Set
from dataclasses import dataclass

from tpsctl.landscape.equivalence import SAME_ENERGY
from tpsctl.landscape.network import Network

DEARER = 2.0
"""Factor by which each try to connect two minima makes their gap dearer. A round tries a gap up to four times, and a
factor of 4 would leave a chain of minima, and begin another, after each round that does not close all of its gaps."""


@dataclass(frozen=True)
class Route:
    """A way from A to B over known saddles.

    Attributes:
        minima: Numbers of the minima in the order passed, from A to B.
        saddles: Numbers of the saddles between them, one fewer than minima.
        top: Energy of the highest saddle, kJ/mol.
    """

    minima: tuple[int, ...]
    saddles: tuple[int, ...]
    top: float


def minimax_route(network: Network, start: int, end: int, *, without: Set[int] = frozenset()) -> Route | None:
    """The route whose highest saddle is as low as possible, or None if A and B are not connected.

    Args:
        network: Minima and saddles.
        start: Number of A.
        end: Number of B.
        without: Numbers of saddles that the route must not pass.
    """
    usable = [k for k in range(len(network.saddles)) if k not in without]
    tree: dict[int, list[tuple[int, int]]] = {}
    parent = list(range(len(network.minima)))
    for k in sorted(usable, key=lambda k: (network.saddles[k].energy, k)):
        i, j = network.saddles[k].ends
        if _root(parent, i) != _root(parent, j):
            parent[_root(parent, i)] = _root(parent, j)
            tree.setdefault(i, []).append((j, k))
            tree.setdefault(j, []).append((i, k))
        if _root(parent, start) == _root(parent, end):
            break
    return _tree_path(network, tree, start, end)


def ranked_routes(network: Network, start: int, end: int, *, most: int = 8) -> list[Route]:
    """The minimax route and its alternatives, at most `most`, lowest first; each has a top of another energy.

    Routes whose tops have the same energy are related by symmetry, and only the first of them is returned.
    """
    routes: list[Route] = []
    closed: set[int] = set()
    while len(routes) < most:
        route = minimax_route(network, start, end, without=closed)
        if route is None or not route.saddles:
            break
        if not routes or route.top - routes[-1].top > SAME_ENERGY:
            routes.append(route)
        closed.add(highest_saddle(network, route))
    return routes


def highest_saddle(network: Network, route: Route) -> int:
    """Number of the highest saddle of a route."""
    return max(route.saddles, key=lambda k: (network.saddles[k].energy, k))


def saddles_as_high(network: Network, route: Route) -> set[int]:
    """Numbers of all saddles that have the energy of the route's highest saddle."""
    return {k for k, saddle in enumerate(network.saddles) if abs(saddle.energy - route.top) <= SAME_ENERGY}


def reachable_below(network: Network, start: int, energy: float, *, without: Set[int] = frozenset()) -> set[int]:
    """Minima reached from `start` over saddles that are below the energy, kJ/mol, and not among `without`."""
    parent = list(range(len(network.minima)))
    for k, saddle in enumerate(network.saddles):
        if saddle.energy < energy and k not in without:
            i, j = saddle.ends
            parent[_root(parent, i)] = _root(parent, j)
    return {i for i in range(len(parent)) if _root(parent, i) == _root(parent, start)}


def gaps(
    network: Network,
    start: int,
    end: int,
    *,
    below: float = float("inf"),
    without: Set[int] = frozenset(),
    most: int = 8,
) -> list[tuple[int, int]]:
    """Pairs of minima, at most `most`, that follow one another on the shortest path from A to B without a known saddle.

    Steps over known saddles below the given energy, kJ/mol, and not among `without` cost nothing. A gap costs
    turning^2 2^tries, where turning is the squared distance of `Equivalence.turning`, so that steps which turn little
    and were seldom tried are preferred. Minima that lie above the energy are left out.
    """
    usable = [i for i, m in enumerate(network.minima) if m.energy < below or i in (start, end)]
    place = {i: k for k, i in enumerate(usable)}
    x = network.positions[usable]
    cost = network.equivalence.turnings(x, x).square()
    for (i, j), tries in network.tries.items():
        if i in place and j in place:
            cost[place[i], place[j]] *= DEARER**tries
            cost[place[j], place[i]] *= DEARER**tries
    cost += 1e-9
    for k, saddle in enumerate(network.saddles):
        i, j = saddle.ends
        if saddle.energy < below and k not in without and i in place and j in place:
            cost[place[i], place[j]] = cost[place[j], place[i]] = 0.0
    steps = _shortest_path(cost.tolist(), place[start], place[end])
    found = [(usable[a], usable[b]) for a, b in zip(steps, steps[1:], strict=False) if cost[a, b] > 0]
    return found[:most]


def _shortest_path(cost: list[list[float]], start: int, end: int) -> list[int]:
    """Dijkstra's shortest path on a full matrix of costs."""
    best, before = {start: 0.0}, {start: start}
    queue, closed = [(0.0, start)], set()
    while queue:
        length, here = heapq.heappop(queue)
        if here in closed:
            continue
        closed.add(here)
        if here == end:
            break
        for there, step in enumerate(cost[here]):
            if there not in closed and length + step < best.get(there, float("inf")):
                best[there], before[there] = length + step, here
                heapq.heappush(queue, (length + step, there))
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]


def _tree_path(network: Network, tree: dict[int, list[tuple[int, int]]], start: int, end: int) -> Route | None:
    """The route between two minima in a tree, found by depth-first search; None if there is none."""
    stack: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = [(start, (start,), ())]
    while stack:
        here, minima, saddles = stack.pop()
        if here == end:
            return Route(minima, saddles, max((network.saddles[k].energy for k in saddles), default=float("-inf")))
        for there, saddle in tree.get(here, []):
            if there not in minima[-2:-1]:
                stack.append((there, (*minima, there), (*saddles, saddle)))
    return None


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i

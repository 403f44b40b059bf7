"""What the next round of a search does; this depends on what is known.

A and B not connected    Three of four attempts are connections over the gaps of the shortest path, the others local
                         searches from the minima at these gaps. Gaps in which many torsions change are first
                         bridged by chains of minima (`tpsctl.landscape.chains`).
A and B connected        S_A and S_B are the minima reached from A and from B over saddles below the route's top. A
                         lower route must leave S_A, and enter S_B, over saddles that are still unknown. The round
                         makes local searches from the least searched minima of both, connections between similar
                         minima of both, a few new paths from A to B, and searches for variants of the highest saddles
                         of the best routes.
every fourth round       Some of the local searches are runs of hot dynamics instead, which find minima
                         (`tpsctl.landscape.hot_dynamics`).
every second round       The same is done for the best alternative, without the saddles as high as the first top; and
                         in every round once S_A or S_B has been searched often enough.
"""

import itertools
import math
from collections.abc import Set
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.attempts import AttemptBlock, Kind, SearchAttempt, generator_of
from tpsctl.landscape.chains import LONG, TurningChains
from tpsctl.landscape.equivalence import SAME_ENERGY
from tpsctl.landscape.moves import turns_hydrogens
from tpsctl.landscape.network import Network
from tpsctl.landscape.routes import (
    DEARER,
    gaps,
    highest_saddle,
    minimax_route,
    ranked_routes,
    reachable_below,
    saddles_as_high,
)
from tpsctl.landscape.search_state import SearchSettings, SearchState

MOST_CHAINS = 16
"""Number of chains between two minima, after which they are connected like any others."""


def plan_round(state: SearchState, seed: int, settings: SearchSettings) -> list[AttemptBlock]:
    """The attempts of the next round, from the network as it is."""
    number = len(state.rounds)
    generator = generator_of(seed, number, -1 & 0xFFFFFFFF)
    route = minimax_route(state.network, state.start, state.end)
    tops: list[int] = []
    if route is None:
        pairs, local = _plan_connecting(state, settings)
    else:
        closed: set[int] = set()
        if number % 2 or is_searched(state, settings):
            closed = saddles_as_high(state.network, route)
            alternative = minimax_route(state.network, state.start, state.end, without=closed)
            top = math.inf if alternative is None else alternative.top
        else:
            top = route.top
        tops = _varied_next(state, settings)
        pairs, local = _plan_lowering(state, top, closed, settings.attempts - len(tops), generator)
    attempts = [SearchAttempt(0, (), state.network.saddles[k].x[None], kind="variant") for k in tops]
    for pair in pairs:
        x = _pair(state.network, pair)
        tries = state.network.was_tried(*pair)
        chain = tries < MOST_CHAINS and _is_long(state.network, x)
        attempts.append(SearchAttempt(0, pair, x, tries, "chain" if chain else "connection"))
    hot = min(HOT, len(local)) if number % HOT_EVERY == 0 and state.network.equivalence.topology is not None else 0
    for k, i in enumerate(local):
        attempts.append(SearchAttempt(0, (i,), state.network.minima[i].x[None], kind="hot" if k < hot else "local"))
    kinds = [[a for a in attempts if a.kind in together] for together in TOGETHER]
    saddles = state.network.saddles
    known = tuple(s.x for s in saddles), tuple(s.energy for s in saddles)
    parts = [part for kind in kinds for part in _evenly(kind, settings.block)]
    numbers = itertools.count()
    return [
        AttemptBlock(seed, number, tuple(replace(attempt, number=next(numbers)) for attempt in part), *known)
        for part in parts
    ]


TOGETHER: tuple[tuple[Kind, ...], ...] = (("hot",), ("connection",), ("chain",), ("variant", "local"))
"""Kinds of attempts whose arithmetic is batched. Blocks that take long are begun first, so that processes that share a
round finish together."""

VARIANTS = (1.0, 0.5, 0.5)
"""How many variants of the top of each of the best routes are sought before a search may end, as a part of the attempts
of a round."""

VARIED = 1 / 2
"""Most of a round's attempts that are spent on variants."""

HOT, HOT_EVERY = 4, 4
"""Number of runs of hot dynamics in a round, and the number of rounds from one with hot dynamics to the next."""

Pairs = list[tuple[int, int]]
"""Pairs of minima to connect."""


def _is_long(network: Network, ends: Float[Tensor, "2 atom dim"]) -> bool:
    """Whether so many torsions change between two minima that chains are to bring minima between them."""
    topology = network.equivalence.topology
    return topology is not None and len(TurningChains(topology).changed(ends)) > LONG


def _plan_connecting(state: SearchState, settings: SearchSettings) -> tuple[Pairs, list[int]]:
    """Connections over the gaps of the shortest path, and local searches from the minima beside them."""
    network, most = state.network, 3 * settings.attempts // 4
    if state.start == state.end:
        return [], _least_searched(network, {state.start}, settings.attempts)
    open_gaps = gaps(network, state.start, state.end, most=most)
    pairs = [open_gaps[k % len(open_gaps)] for k in range(most)]
    beside = list(dict.fromkeys(i for pair in open_gaps for i in pair))
    return pairs, _least_searched(network, set(beside), settings.attempts - most)


def _plan_lowering(
    state: SearchState, top: float, closed: Set[int], attempts: int, generator: torch.Generator
) -> tuple[Pairs, list[int]]:
    """Connections, and minima for local searches, that could find a route below the present one."""
    network = state.network
    sides = sides_below(state, top, closed)
    count = attempts // 4
    pairs = gaps(network, state.start, state.end, below=top - SAME_ENERGY, without=closed, most=count // 2)
    pairs += _closest_pairs(network, sides, count - len(pairs))
    pairs.append((state.start, state.end))
    left = attempts - len(pairs)
    near, far = sorted(sides, key=len)
    local = _least_searched(network, near, (left + 1) // 2, generator)
    return pairs, local + _least_searched(network, far, left // 2, generator)


def is_searched(state: SearchState, settings: SearchSettings) -> bool:
    """Whether few saddles below the top are unseen, and all minima of the smaller of S_A and S_B were searched from."""
    last = state.rounds[-1]
    if last.missing > settings.missing:
        return False
    smaller = min(sides_below(state, last.top), key=len)
    return all(state.network.minima[i].searched >= settings.searches_per_minimum for i in smaller)


def sides_below(state: SearchState, top: float, closed: Set[int] = frozenset()) -> tuple[set[int], set[int]]:
    """S_A and S_B: minima reached from A, and from B, over saddles that are below the top and not closed."""
    first, second = (
        reachable_below(state.network, i, top - SAME_ENERGY, without=closed) for i in (state.start, state.end)
    )
    return first, second


def has_variants(network: Network) -> bool:
    """Whether the molecule has bonds that can turn beside one that reacts; those of methyls do not count."""
    topology = network.equivalence.topology
    return topology is not None and sum(not turns_hydrogens(topology, bond) for bond in topology.rotatable_bonds) > 1


def is_varied(state: SearchState, settings: SearchSettings) -> bool:
    """Whether enough variants of the best routes' tops were sought, where the molecule has any (see `VARIANTS`)."""
    return not _still_due(state.network, _varied_tops(state), settings)


def _varied_tops(state: SearchState) -> list[int]:
    """Saddles of which variants are sought: the highest of the best routes; none where a molecule has too few bonds."""
    if not has_variants(state.network):
        return []
    routes = ranked_routes(state.network, state.start, state.end, most=len(VARIANTS))
    return [highest_saddle(state.network, route) for route in routes]


def _still_due(network: Network, tops: list[int], settings: SearchSettings) -> dict[int, float]:
    """Those of the tops, best route first, of which variants are still due, each with what part of them was sought.

    Once enough variants were sought of saddles other than the best route's top, more are due of this top only: among
    many alternatives of similar energies there are always new ones.
    """
    others = sum(saddle.varied for k, saddle in enumerate(network.saddles) if k not in tops[:1])
    if others >= sum(VARIANTS[1:]) * settings.attempts:
        tops = tops[:1]
    done = {k: network.saddles[k].varied / (part * settings.attempts) for k, part in zip(tops, VARIANTS, strict=False)}
    return {k: part for k, part in done.items() if part < 1}


def _varied_next(state: SearchState, settings: SearchSettings) -> list[int]:
    """The saddles of which a round seeks variants, all counted: those of which most are still due."""
    tops, chosen = _varied_tops(state), list[int]()
    while len(chosen) < int(VARIED * settings.attempts) and (due := _still_due(state.network, tops, settings)):
        chosen.append(min(due, key=lambda k: due[k]))
        state.network.was_varied(chosen[-1])
    return chosen


def _evenly(attempts: list[SearchAttempt], most: int) -> list[list[SearchAttempt]]:
    """Attempts in blocks of about the same size, with `most` attempts at most, or half as many connections."""
    if not attempts:
        return []
    size = max(1, most // 2) if attempts[0].kind == "connection" else most
    count = math.ceil(len(attempts) / size)
    return [attempts[k * len(attempts) // count : (k + 1) * len(attempts) // count] for k in range(count)]


def _closest_pairs(network: Network, sides: tuple[set[int], set[int]], count: int) -> Pairs:
    """Pairs of a minimum of S_A and one of S_B with the least cost turning^2 2^tries (see `routes.gaps`)."""
    first, second = (sorted(side) for side in sides)
    x = network.positions
    cost = network.equivalence.turnings(x[first], x[second]).square() + 1e-9
    for k, i in enumerate(first):
        for m, j in enumerate(second):
            cost[k, m] *= DEARER ** network.tries.get((min(i, j), max(i, j)), 0)
    order = cost.flatten().argsort(stable=True)[:count].tolist()
    pairs = [(first[flat // len(second)], second[flat % len(second)]) for flat in order]
    return [(i, j) for i, j in pairs if i != j]


def _least_searched(
    network: Network, among: set[int], count: int, generator: torch.Generator | None = None
) -> list[int]:
    """Minima for `count` local searches, the least searched first, all counted; a minimum may occur more than once."""
    chosen = []
    order = sorted(among)
    if generator is not None:
        order = [order[k] for k in torch.randperm(len(order), generator=generator).tolist()]
    for _ in range(count):
        best = min(order, key=lambda i: network.minima[i].searched)
        network.was_searched(best)
        chosen.append(best)
    return chosen


def _pair(network: Network, pair: tuple[int, int]) -> Float[Tensor, "2 atom dim"]:
    """The configurations of both minima, nm; equivalent atoms of the second are relabeled so that least turns."""
    x, y = (network.minima[i].x for i in pair)
    return torch.stack((x, y[list(network.equivalence.relabeled_towards(y, x))]))

"""The search for the lowest routes from A to B, in synchronized rounds.

Every round plans attempts from the network as it is, does them independently of one another (in blocks, in any process)
and merges their finds in order. The result therefore depends on the seed only, not on the number of processes, and a
search can be stopped and continued between any two rounds. What a round plans depends on what is known:

    A and B not connected    Three of four attempts are connections over the gaps of the shortest path, the others local
                             searches from the minima at these gaps. Gaps in which many torsions change are first
                             bridged by chains of minima (`tpsctl.landscape.chains`).
    A and B connected        S_A and S_B are the minima reached from A and from B over saddles below the route's top. A
                             lower route must leave S_A, and enter S_B, over saddles that are still unknown. The round
                             makes local searches from the least searched minima of both, connections between similar
                             minima of both, and a few new paths from A to B.
    every second round       The same is done for the best alternative, without the saddles as high as the first top.

The search stops when neither route has changed for some rounds, every minimum of the smaller of S_A and S_B has been
searched often enough, and few saddles below the top are still unseen (Good and Turing); or when its budget is spent.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.attempts import AttemptBlock, BlockResult, SearchAttempt, SearchedMolecule, generator_of
from tpsctl.landscape.chains import LONG, TurningChains
from tpsctl.landscape.equivalence import SAME_ENERGY
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.network import Network, missing_fraction
from tpsctl.landscape.routes import (
    DEARER,
    Route,
    gaps,
    minimax_route,
    ranked_routes,
    reachable_below,
    saddles_as_high,
)

NOTICEABLE = 0.1
"""A top that falls by less than this, kJ/mol (0.04 kT at 300 K), counts as unchanged: the landscape of a learned prior is
rough, and has many saddles of nearly the same energy in one pass."""

MOST_CHAINS = 16
"""Number of chains between two minima, after which they are connected like any others."""

RunBlocks = Callable[[Sequence[AttemptBlock]], Iterable[BlockResult]]
"""Does blocks, in any order and in any process, and gives their results in the order of the blocks."""


@dataclass(frozen=True)
class SearchSettings:
    """Size of the rounds and criteria for the end of a search; none of them depends on the molecule.

    Attributes:
        attempts: Attempts per round.
        block: Most attempts in a block.
        most_rounds: Most rounds.
        most_evaluations: Number of force evaluations after which no new round begins: about five minutes of one core
            for 30 atoms, ten for 60.
        stable_rounds: Rounds without change of both routes' highest saddles before the search may stop.
        searches_per_minimum: Local searches from each minimum of the smaller of S_A and S_B before it may stop.
        missing: Largest probability that the next saddle below the top is new (Good and Turing) at which it may stop.
        most_routes: Most routes that are returned.
    """

    attempts: int = 16
    block: int = 16
    most_rounds: int = 60
    most_evaluations: float = 3e6
    stable_rounds: int = 4
    searches_per_minimum: int = 4
    missing: float = 0.1
    most_routes: int = 8


@dataclass(frozen=True)
class RoundRecord:
    """State of the search after a round, for tables and for the decision to stop.

    Attributes:
        top: Energy of the best route's highest saddle after the round, kJ/mol; infinite while A and B are not
            connected.
        second_top: Energy of the best alternative's highest saddle, kJ/mol; infinite while there is none.
        minima: Number of minima known.
        saddles: Number of saddles known.
        missing: Estimated probability that the next saddle below the top is new (`missing_fraction`).
        evaluations: Number of force evaluations so far.
    """

    top: float
    second_top: float
    minima: int
    saddles: int
    missing: float
    evaluations: int


@dataclass
class SearchState:
    """A search between two rounds.

    Attributes:
        network: Minima and saddles found so far.
        start: Number of A in the network.
        end: Number of B in the network.
        rounds: Record of every round so far.
    """

    network: Network
    start: int
    end: int
    rounds: list[RoundRecord] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """Number of force evaluations that all rounds have spent."""
        return self.rounds[-1].evaluations if self.rounds else 0


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        network: Minima (with times found) and saddles (with ends and times found).
        start: Number of A in the network.
        end: Number of B in the network.
        routes: Routes, lowest first; empty if A and B could not be connected.
        rounds: Record of every round.
        complete: Whether the criteria for completeness were met; if not, the budget ended the search.
        missing: Estimated probability that the next saddle below the best route's top is new (`missing_fraction`).
    """

    network: Network
    start: int
    end: int
    routes: tuple[Route, ...]
    rounds: tuple[RoundRecord, ...]
    complete: bool
    missing: float


def begin(molecule: SearchedMolecule, ends: Float[Tensor, "2 atom dim"]) -> SearchState:
    """Minimize both ends, and return the state of a search before its first round.

    Args:
        molecule: The molecule or model system.
        ends: A and B, nm, with the same order of atoms and the same handedness.
    """
    minima = minimize(molecule.surface, ends, molecule.coordinates)
    network = Network(molecule.equivalence)
    start, end = (network.add_minimum(x, float(e), count=0) for x, e in zip(minima.x, minima.energy, strict=True))
    return SearchState(network, start, end)


def search(
    state: SearchState,
    run_blocks: RunBlocks,
    seed: int,
    settings: SearchSettings | None = None,
    on_round: Callable[[SearchState], None] | None = None,
) -> SearchResult:
    """Do rounds until the search is complete or its budget is spent.

    Args:
        state: State from `begin` or from an earlier call; it is changed in place.
        run_blocks: Does the blocks of a round, e.g. `lambda blocks: [run_block(molecule, b) for b in blocks]`.
        seed: Seed of all random numbers.
        settings: Size of the rounds and criteria for the end; None for the defaults.
        on_round: Called after every round, e.g. to store the state or to tell the user.
    """
    settings = settings or SearchSettings()
    while not is_over(state, settings):
        blocks = plan_round(state, seed, settings)
        merge_round(state, blocks, run_blocks(blocks))
        if on_round is not None:
            on_round(state)
    return result_of(state, settings)


def is_over(state: SearchState, settings: SearchSettings) -> bool:
    """Whether no further round is due: the search is complete, or its budget is spent."""
    spent = len(state.rounds) >= settings.most_rounds or state.evaluations >= settings.most_evaluations
    return spent or is_complete(state, settings)


def merge_round(state: SearchState, blocks: Sequence[AttemptBlock], results: Iterable[BlockResult]) -> None:
    """Merge the results of the blocks that `plan_round` planned, in their order, and record the round."""
    spent = _merge(state.network, blocks, results)
    state.rounds.append(_record(state, spent))


def result_of(state: SearchState, settings: SearchSettings) -> SearchResult:
    """The routes that a search has found, and whether it is complete."""
    network, done = state.network, is_complete(state, settings)
    routes = tuple(ranked_routes(network, state.start, state.end, most=settings.most_routes))
    missing = missing_fraction(network, routes[0].top) if routes else 1.0
    return SearchResult(network, state.start, state.end, routes, tuple(state.rounds), done, missing)


def is_complete(state: SearchState, settings: SearchSettings) -> bool:
    """Whether all criteria for a complete search are met; a spent budget is not one of them."""
    last = state.rounds[-settings.stable_rounds - 1 :]
    if len(last) <= settings.stable_rounds or not math.isfinite(last[-1].top):
        return False
    if _fell(last[0].top, last[-1].top) or _fell(last[0].second_top, last[-1].second_top):
        return False
    if last[-1].missing > settings.missing:
        return False
    sides = _sides(state, last[-1].top)
    smaller = min(sides, key=len)
    return all(state.network.minima[i].searched >= settings.searches_per_minimum for i in smaller)


def _fell(before: float, after: float) -> bool:
    """Whether a top became lower in a way that counts; it may be infinite while there is no route."""
    return math.isfinite(after) and not before - after <= NOTICEABLE


def plan_round(state: SearchState, seed: int, settings: SearchSettings) -> list[AttemptBlock]:
    """The attempts of the next round, from the network as it is."""
    number = len(state.rounds)
    generator = generator_of(seed, number, -1 & 0xFFFFFFFF)
    route = minimax_route(state.network, state.start, state.end)
    if route is None:
        pairs, local = _plan_connecting(state, settings)
    else:
        closed: set[int] = set()
        if number % 2:
            closed = saddles_as_high(state.network, route)
            alternative = minimax_route(state.network, state.start, state.end, without=closed)
            top = math.inf if alternative is None else alternative.top
        else:
            top = route.top
        pairs, local = _plan_lowering(state, top, closed, settings, generator)
    kinds: list[list[SearchAttempt]] = [[], [], []]
    for pair in pairs:
        x = _pair(state.network, pair)
        tries = state.network.was_tried(*pair)
        chain = tries < MOST_CHAINS and _is_long(state.network, x)
        kinds[chain].append(SearchAttempt(0, pair, x, tries, chain))
    kinds[2] = [SearchAttempt(0, (i,), state.network.minima[i].x[None]) for i in local]
    saddles = state.network.saddles
    known = tuple(s.x for s in saddles), tuple(s.energy for s in saddles)
    parts = [kind[k : k + settings.block] for kind in kinds for k in range(0, len(kind), settings.block)]
    numbers = itertools.count()
    return [
        AttemptBlock(seed, number, tuple(replace(attempt, number=next(numbers)) for attempt in part), *known)
        for part in parts
    ]


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
    state: SearchState, top: float, closed: Set[int], settings: SearchSettings, generator: torch.Generator
) -> tuple[Pairs, list[int]]:
    """Connections, and minima for local searches, that could find a route below the present one."""
    network = state.network
    sides = _sides(state, top, closed)
    count = settings.attempts // 4
    pairs = gaps(network, state.start, state.end, below=top - SAME_ENERGY, without=closed, most=count // 2)
    pairs += _closest_pairs(network, sides, count - len(pairs))
    pairs.append((state.start, state.end))
    left = settings.attempts - len(pairs)
    near, far = sorted(sides, key=len)
    local = _least_searched(network, near, (left + 1) // 2, generator)
    return pairs, local + _least_searched(network, far, left // 2, generator)


def _sides(state: SearchState, top: float, closed: Set[int] = frozenset()) -> tuple[set[int], set[int]]:
    """S_A and S_B: minima reached from A, and from B, over saddles that are below the top and not closed."""
    first, second = (
        reachable_below(state.network, i, top - SAME_ENERGY, without=closed) for i in (state.start, state.end)
    )
    return first, second


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


def _merge(network: Network, blocks: Sequence[AttemptBlock], results: Iterable[BlockResult]) -> int:
    """Merge finds into the network in the order of blocks and attempts, and return the force evaluations spent."""
    spent = 0
    for _, result in zip(blocks, results, strict=True):
        spent += result.evaluations
        for x, energy in itertools.chain.from_iterable(result.minima):
            network.add_minimum(x, energy)
        for finds in result.finds:
            for find in finds:
                if isinstance(find, int):
                    network.seen_again(find)
                else:
                    network.add(find)
    return spent


def _record(state: SearchState, spent: int) -> RoundRecord:
    routes = ranked_routes(state.network, state.start, state.end, most=2)
    tops = [route.top for route in routes] + [math.inf, math.inf]
    top = tops[0]
    return RoundRecord(
        top=top,
        second_top=tops[1],
        minima=len(state.network.minima),
        saddles=len(state.network.saddles),
        missing=missing_fraction(state.network, top),
        evaluations=state.evaluations + spent,
    )

"""The search for the lowest routes from A to B, in synchronized rounds.

Every round plans attempts from the network as it is, does them independently of one another (in blocks, in any process)
and merges their finds in order. The result therefore depends on the seed only, not on the number of processes, and a
search can be stopped and continued between any two rounds. What a round does is planned in
`tpsctl.landscape.round_plan`.

The search stops when neither route has changed for some rounds, every minimum of the smaller of S_A and S_B has been
searched often enough, variants of the highest saddles of the best routes were sought, and few saddles below both tops
are still unseen (Good and Turing); or when its budget is spent.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.attempts import AttemptBlock, BlockResult, SearchedMolecule
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.network import Network, missing_fraction
from tpsctl.landscape.round_plan import is_searched, is_varied, plan_round
from tpsctl.landscape.routes import minimax_route, ranked_routes, saddles_as_high
from tpsctl.landscape.search_state import RoundRecord, SearchResult, SearchSettings, SearchState

NOTICEABLE = 0.1
"""A top that falls by less than this, kJ/mol (0.04 kT at 300 K), counts as unchanged: the landscape of a learned
prior is rough, and has many saddles of nearly the same energy in one pass."""

RunBlocks = Callable[[Sequence[AttemptBlock]], Iterable[BlockResult]]
"""Does blocks, in any order and in any process, and gives their results in the order of the blocks."""


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
    if math.isfinite(last[-1].second_top) and last[-1].second_missing > settings.missing:
        return False
    return is_searched(state, settings) and _top_is_found_again(state) and is_varied(state, settings)


def _top_is_found_again(state: SearchState) -> bool:
    """Whether the highest saddle of the best route was found more than once.

    Passes that are as hard to find as one that was found once only are likely to be unseen still, and one of them may
    be lower. Saddles of the same energy are the same pass by symmetry.
    """
    route = minimax_route(state.network, state.start, state.end)
    assert route is not None
    return sum(state.network.saddles[k].times_found for k in saddles_as_high(state.network, route)) > 1


def _fell(before: float, after: float) -> bool:
    """Whether a top became lower in a way that counts; it may be infinite while there is no route."""
    return math.isfinite(after) and not before - after <= NOTICEABLE


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
        second_missing=missing_fraction(state.network, tops[1]),
        evaluations=state.evaluations + spent,
    )

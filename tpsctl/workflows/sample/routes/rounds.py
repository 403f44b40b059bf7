"""The rounds of a search for routes: those of the search itself, then one that computes the paths of the routes."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from tpsctl.errors import PathError
from tpsctl.jobs.batches import StoredBatch
from tpsctl.jobs.rounds import Rounds
from tpsctl.landscape.attempts import AttemptBlock, run_block
from tpsctl.landscape.kinetics import network_modes
from tpsctl.landscape.pinned_path import PinnedPath, pinned_path
from tpsctl.landscape.round_plan import plan_round
from tpsctl.landscape.routes import Route
from tpsctl.landscape.search import begin, is_over, merge_round, result_of
from tpsctl.landscape.search_state import SearchResult, SearchSettings, SearchState
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.validation.energy import PathEnergies, Profile
from tpsctl.workflows.sample.judge import PathVerdicts, judge
from tpsctl.workflows.sample.planning import attempts_together
from tpsctl.workflows.sample.routes.found import store_modes, store_path
from tpsctl.workflows.sample.routes.molecule import Landscape
from tpsctl.workflows.sample.routes.stored import load_block, store_block
from tpsctl.workflows.sample.tools import Tools

IMAGES_PER_SADDLE = 40
LEAST_IMAGES = 80
"""Images of the paths, where the recipe does not say: as many for every saddle of the longest route, but not fewer."""


class RouteRounds(Rounds):
    """The search for the routes of a recipe, and then their paths.

    Args:
        tools: The recipe with its ends, prior and judges.
        landscape: The landscape of the prior.

    Attributes:
        search: The outcome of the search, once it is over.
        paths: The path of every route as `store_path` stores it, once they are computed.
        modes: The vibrations of all minima and saddles as `store_modes` stores them.
    """

    def __init__(self, tools: Tools, landscape: Landscape) -> None:
        self._tools, self._landscape = tools, landscape
        recipe, route = tools.recipe, tools.recipe.route
        assert route is not None
        self._settings = SearchSettings(
            attempts=recipe.path.paths,
            block=attempts_together(recipe),
            most_rounds=route.max_rounds,
            stable_rounds=route.stable_rounds,
            missing=route.missing,
            most_routes=route.max_routes,
        )
        self.most = route.max_rounds + 1
        self._state: SearchState = begin(landscape.molecule, landscape.ends)
        self._planned: list[AttemptBlock] = []
        self.search: SearchResult | None = None
        self.paths: list[StoredBatch] = []
        self.modes: StoredBatch = ({}, {})
        if self._state.start == self._state.end:
            raise PathError(same_minimum(tools))

    def plan(self) -> int:
        if not is_over(self._state, self._settings):
            self._planned = plan_round(self._state, self._tools.recipe.seed, self._settings)
            return len(self._planned)
        if self.search is None:
            self.search = result_of(self._state, self._settings)
            return len(self.search.routes) + 1
        return 0

    def run(self, block: int) -> StoredBatch:
        if self.search is None:
            return store_block(run_block(self._landscape.molecule, self._planned[block]))
        if block == len(self.search.routes):
            return store_modes(*network_modes(self._landscape.molecule.surface, self.search.network))
        started = time.monotonic()
        path = pinned_path(
            self._landscape.molecule,
            self.search.network,
            self.search.routes[block],
            kt=self._landscape.kt,
            images=self._images(self.search.routes),
        )
        verdict = judged_route(self._tools, path, self._tools.recipe.seed + block)
        return store_path(path, verdict, time.monotonic() - started)

    def merge(self, results: Sequence[StoredBatch]) -> str:
        if self.search is not None:
            *self.paths, self.modes = results
            return f"paths of {len(self.paths)} routes"
        merge_round(self._state, self._planned, [load_block(stored) for stored in results])
        return self._words()

    def _images(self, routes: Sequence[Route]) -> int:
        wanted = self._tools.recipe.path.images
        return wanted if wanted != "auto" else max(LEAST_IMAGES, *(IMAGES_PER_SADDLE * len(r.saddles) for r in routes))

    def _words(self) -> str:
        last, zero = self._state.rounds[-1], self._state.network.minima[self._state.start].energy
        top = f"lowest top {last.top - zero:.2f} kJ/mol" if math.isfinite(last.top) else "A and B not connected yet"
        return f"{top}, {last.minima} minima, {last.saddles} saddles"


def judged_route(tools: Tools, path: PinnedPath, seed: int) -> PathVerdicts:
    """The verdict on the path of a route, with what its top is on the force field, if that is not the prior.

    Args:
        tools: The recipe with its judges.
        path: The path.
        seed: Seed of the random pushes with which a saddle of the force field is sought.
    """
    x = path.x[None]
    verdict, landscapes = judge(tools, x), tools.landscapes
    if verdict.energies is None and isinstance(tools.prior, OpenMMPrior):
        energies = PathEnergies(Profile(path.energy[None].clone()), None, None, None, tools.prior.protocol)
        verdict = replace(verdict, energies=energies)
    other = landscapes.get("force_field")
    if not tools.judges_saddles or other is None or other is landscapes.get("prior"):
        return verdict
    return replace(verdict, tops={"force_field": tuple(other.judge(x, [seed]))})


def same_minimum(tools: Tools) -> str:
    """The message that both ends fall into the same minimum."""
    keep = (
        ""
        if getattr(tools.recipe.endpoints, "equivalent_atoms", "") == "keep"
        else (" If they differ only in the labels of equivalent atoms, set endpoints.equivalent_atoms: keep.")
    )
    return (
        "endpoints: both ends fall into the same minimum of this landscape, so there is no transition between them. "
        f"Choose two states that are minima of the prior's energy.{keep}"
    )

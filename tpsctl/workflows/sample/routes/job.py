"""A recipe's search for routes as a job: rounds until the search is over, then files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpsctl.action.memory import explained_out_of_memory
from tpsctl.jobs.batches import BatchedJob, StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.jobs.rounds import do_rounds
from tpsctl.progress import Progress
from tpsctl.workflows.sample.batch import now
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.sample.present import present
from tpsctl.workflows.sample.routes.found import FoundRoutes, store_found
from tpsctl.workflows.sample.routes.molecule import Landscape, make_landscape
from tpsctl.workflows.sample.routes.results import write_routes
from tpsctl.workflows.sample.routes.rounds import RouteRounds
from tpsctl.workflows.sample.tools import Tools


class RouteSearch(BatchedJob):
    """The lowest routes between the ends of a recipe, over verified saddles; one batch, on which all shards work."""

    def __init__(self, tools: Tools, progress: Progress) -> None:
        self._tools, self._progress = tools, progress
        self._made: Landscape | None = None

    @property
    def _landscape(self) -> Landscape:
        if self._made is None:
            self._made = make_landscape(self._tools)
        return self._made

    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Search for the routes, and compute and judge their paths.

        Raises:
            Interrupted: The job was told to stop; what it had done is saved.
            TpsctlError: There are no routes on such a landscape, or memory ran out.
        """
        with explained_out_of_memory(f"{len(numbers)} attempts", "Use fewer attempts at once (path.batch_paths)."):
            clock, started = Clock(), now()
            keeper.enter(stage="ends")
            rounds = RouteRounds(self._tools, self._landscape)
            do_rounds(rounds, keeper, self._progress)
            clock.lap("routes")
            assert rounds.search is not None
            facts = {
                "machine": self._tools.machine,
                "started": started,
                "seconds": clock.seconds,
                "chosen": self._tools.chosen.as_json(),
                "prior_force_field": self._tools.prior_force_field,
            }
            return store_found(rounds.search, rounds.paths, rounds.modes, facts)

    def is_good(self, batch: StoredBatch) -> bool:
        """Whether the search is complete, and the path of its lowest route passes the gate."""
        return FoundRoutes.from_stored(batch, self._landscape.molecule.equivalence).is_good

    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write trajectories and tables of the routes; the manifest."""
        found = FoundRoutes.from_stored(batches[0], self._landscape.molecule.equivalence)
        return write_routes(folder, self._tools, self._landscape, found)

    def present(self, folder: Path) -> None:
        """Draw the figures and write the report, as far as the recipe wants them."""
        present(self._tools.recipe, folder)

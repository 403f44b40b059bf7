"""The finished run whose path is examined: its tools, its best path, and the top of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.recipe.prior import OpenMMPriorSection
from tpsctl.validation.energy import EnergyModel
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.stored_run import StoredRun

_MAY_CHANGE = ("validation.energy", "validation.states")


@dataclass(frozen=True)
class ExaminedRun:
    """A finished run with the tools of its recipe.

    Attributes:
        stored: The run.
        tools: The tools of its recipe, in which states and energies may have been changed.
    """

    stored: StoredRun
    tools: Tools

    @classmethod
    def read(cls, directory: Path, assignments: Sequence[str], *, threads: int) -> "ExaminedRun":
        """The run in a directory.

        Args:
            directory: The run directory.
            assignments: Changes of its recipe, e.g. of the states.
            threads: CPU threads.

        Raises:
            RecipeError: There is no finished run, or a change is no part of what may be changed.
        """
        for assignment in assignments:
            if not assignment.startswith(_MAY_CHANGE):
                raise RecipeError(
                    f"--set {assignment}: a finished run keeps its recipe except for {' and '.join(_MAY_CHANGE)}."
                )
        stored = StoredRun.read(directory.resolve())
        recipe = stored.recipe(assignments=assignments)
        return cls(stored, Tools(recipe, torch.device("cpu"), threads=threads))

    @property
    def best_path(self) -> int:
        """The valid path with the lowest barrier; the first one if no energies are known.

        Raises:
            RecipeError: The run has no path.
        """
        self.stored.require_paths()
        entries = self.stored.entries
        good = [entry for entry in entries if entry["gate"] == "valid"] or entries
        return int(min(good, key=_barrier)["path"])

    def top(self, number: int) -> int:
        """The highest image of a path, which is the pinned saddle on a route.

        Raises:
            RecipeError: The energies of the path are unknown.
        """
        entry = self.stored.entries[number]
        if "raw" not in entry:
            raise RecipeError(
                f"{self.stored.directory}: the run has no energies, so its highest image is unknown. Name the images "
                "with --images, or run again with validation.energy."
            )
        return int(entry["raw"]["highest_image"])

    def energies(self, x: Float[Tensor, "frame bead dim"]) -> Float[Tensor, " frame"] | None:
        """Energies, kJ/mol, on the force field of the run, or on its model potential; None if it has neither."""
        if self.tools.energy_model is not None:
            return self.tools.energy_model.energies(x)
        section = self.tools.given.prior
        if isinstance(section, OpenMMPriorSection):
            system = self.tools.given_system
            return EnergyModel(system.topology, system_source(section.force_field), x[0], threads=1).energies(x)
        if self.tools.given_system.is_molecule or self.tools.prior.potential is None:
            return None
        return self.tools.prior.potential.energy(x).detach()


def _barrier(entry: dict[str, Any]) -> float:
    return float(entry["raw"]["barrier_forward_kj_per_mol"]) if "raw" in entry else 0.0

"""The finished run whose path is examined: its recipe, its ends and its paths."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.output.dcd import read_dcd
from tpsctl.output.manifest import file_sha256, read_manifest
from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.recipe.document import Document
from tpsctl.recipe.loader import resolve
from tpsctl.recipe.prior import OpenMMPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.validation.energy import EnergyModel
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.tools import Tools

_MAY_CHANGE = ("validation.energy", "validation.states")


class ExaminedRun:
    """A run directory that `tpsctl sample` completed.

    Args:
        directory: Where it is.
        assignments: Changes of its recipe, e.g. of the states.
        threads: CPU threads.

    Attributes:
        manifest: Its manifest.
        recipe: Its recipe, with the changes.

    Raises:
        RecipeError: There is no such run, a change is no part of what may be changed, or an input file is no longer
            what it was.
    """

    def __init__(self, directory: Path, assignments: Sequence[str], *, threads: int) -> None:
        self.directory = directory.resolve()
        manifest = read_manifest(self.directory) if self.directory.is_dir() else None
        if manifest is None or "paths" not in manifest:
            unfinished = (self.directory / "state" / "plan.json").exists()
            what = "the run here is not finished" if unfinished else "no finished run is here"
            raise RecipeError(f"{directory}: {what}. Expected the run directory of a complete `tpsctl sample`.")
        self.manifest = manifest
        self.recipe = _recipe(self.directory / "manifest.json", manifest, assignments)
        self.tools = Tools(self.recipe, torch.device("cpu"), threads=threads)

    @cached_property
    def best_path(self) -> int:
        """The valid path with the lowest barrier; the first one if no energies are known.

        Raises:
            RecipeError: The run has no path.
        """
        entries = self.manifest["paths"]
        if not entries:
            raise RecipeError(f"{self.directory}: this run has no path. Nothing can be shot from.")
        good = [entry for entry in entries if entry["gate"] == "valid"] or entries
        return int(min(good, key=_barrier)["path"])

    @property
    def temperature_k(self) -> float:
        """The temperature that the run used, K."""
        chosen = self.manifest.get("chosen", {}).get("action.temperature_k")
        return DEFAULT_TEMPERATURE_K if chosen is None or chosen["value"] is None else float(chosen["value"])

    def path(self, number: int) -> Float[Tensor, "image bead dim"]:
        """The images of a path, nm.

        Raises:
            RecipeError: There is no such path, or no file of it.
        """
        count = len(self.manifest["paths"])
        if not 0 <= number < count:
            raise RecipeError(f"--path {number}: this run has the paths 0 to {count - 1}.")
        file = self.directory / "paths" / f"path_{number:04d}.dcd"
        if not file.is_file():
            raise RecipeError(f'{file}: no such file. Run again with "dcd" among output.trajectories.')
        frames = torch.from_numpy(read_dcd(file).astype("float64")) * NM_PER_ANGSTROM
        dims = self.tools.given_system.ends.shape[-1]
        return frames[..., :dims].contiguous()

    def top(self, number: int) -> int:
        """The highest image of a path, which is the pinned saddle on a route.

        Raises:
            RecipeError: The energies of the path are unknown.
        """
        entry = self.manifest["paths"][number]
        if "raw" not in entry:
            raise RecipeError(
                f"{self.directory}: the run has no energies, so its highest image is unknown. Name the images with "
                "--images, or run again with validation.energy."
            )
        return int(entry["raw"]["highest_image"])

    def energies(self, x: Float[Tensor, "frame bead dim"]) -> Float[Tensor, " frame"] | None:
        """Energies, kJ/mol, on the force field of the run, or on its model potential; None if it has neither."""
        if self.tools.energy_model is not None:
            return self.tools.energy_model.energies(x)
        section = self.recipe.prior
        if isinstance(section, OpenMMPriorSection):
            system = self.tools.given_system
            return EnergyModel(system.topology, system_source(section.force_field), x[0], threads=1).energies(x)
        if self.tools.given_system.is_molecule or self.tools.prior.potential is None:
            return None
        return self.tools.prior.potential.energy(x).detach()

    def require_inputs(self, prefixes: Sequence[str]) -> dict[str, Any]:
        """The input files of the run whose keys begin so, as the manifest has them; all must be what they were.

        Raises:
            RecipeError: One is missing or was changed.
        """
        found = {key: value for key, value in self.manifest["inputs"].items() if key.startswith(tuple(prefixes))}
        for key, entry in found.items():
            file = Path(entry["file"])
            if not file.exists():
                raise RecipeError(f"{key}: {file} of the run is no longer there. Put it back.")
            if file_sha256(file) != entry["sha256"]:
                raise RecipeError(f"{key}: {file} has changed since the run. Restore it, or run `tpsctl sample` again.")
        return found


def _recipe(file: Path, manifest: dict[str, Any], assignments: Sequence[str]) -> SampleRecipe:
    document = Document(str(file), manifest["recipe"])
    for assignment in assignments:
        if not assignment.startswith(_MAY_CHANGE):
            raise RecipeError(f"--set {assignment}: a finished run keeps its recipe except for {_words(_MAY_CHANGE)}.")
        document.assign(assignment)
    return resolve(document, SampleRecipe)


def _words(names: Sequence[str]) -> str:
    return " and ".join(names)


def _barrier(entry: dict[str, Any]) -> float:
    return float(entry["raw"]["barrier_forward_kj_per_mol"]) if "raw" in entry else 0.0

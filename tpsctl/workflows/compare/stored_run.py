"""A finished run, read again from its directory: recipe, paths, and the tools with which more paths are made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.output.dcd import read_dcd
from tpsctl.output.manifest import file_sha256, read_manifest
from tpsctl.recipe.loader import require_files
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.sample.hardware import use_hardware
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

_CHOSEN = ("path.images", "prior.diffusion_time", "action.dt_ps", "action.friction_per_ps", "action.temperature_k")
"""Numbers that a recipe may leave open and that other paths take over from a run, as far as their section has them."""


@dataclass(frozen=True)
class StoredRun:
    """A finished run.

    Attributes:
        directory: The run directory.
        manifest: Its manifest.
        paths: Its paths, nm, in single precision as they are stored, but in the type float64.
    """

    directory: Path
    manifest: dict[str, Any]
    paths: Float[Tensor, "path image bead dim"]

    def tools(self, changes: dict[str, Any], *, device: str, threads: int | None) -> Tools:
        """The tools of this run's recipe with its chosen numbers and some changes, by dotted key."""
        values = json.loads(json.dumps(self.manifest["recipe"]))
        taken = {key: self.manifest["chosen"][key]["value"] for key in _CHOSEN if key in self.manifest["chosen"]}
        taken |= {"path.images": self.paths.shape[1], "path.paths": len(self.paths)}
        for key, value in (taken | changes).items():
            section, _, name = key.rpartition(".")
            target = values[section] if section else values
            if key in changes or name in target:
                target[name] = value
        recipe = SampleRecipe.model_validate_json(json.dumps(values))
        settings = RunSettings(device=device, threads=threads)
        return Tools(recipe, *use_hardware(settings, recipe))


def load_run(directory: Path) -> StoredRun:
    """Read a finished run.

    Args:
        directory: The run directory.

    Raises:
        RecipeError: There is no finished run, or no path file, or an input file is gone or has changed since.
    """
    manifest = read_manifest(directory) if directory.is_dir() else None
    if manifest is None:
        raise RecipeError(
            f"{directory}: holds no finished run (no manifest.json). Name the directory that `tpsctl sample` wrote."
        )
    _require_same_inputs(directory, manifest)
    files = sorted((directory / "paths").glob("path_*.dcd"))
    if not files:
        raise RecipeError(
            f"{directory}/paths: holds no DCD file. Run the recipe again with output.trajectories: [dcd, pdb]."
        )
    paths = [torch.from_numpy(read_dcd(file).astype("float64")) * NM_PER_ANGSTROM for file in files]
    if len({path.shape for path in paths}) > 1 or len(files) != len(manifest["paths"]):
        raise RecipeError(
            f"{directory}/paths: {len(files)} files for {len(manifest['paths'])} paths, or of different sizes. "
            "The directory was changed after the run; run it again."
        )
    return StoredRun(directory, manifest, torch.stack(paths)[..., : _dims(manifest["recipe"])])


def _dims(recipe: dict[str, Any]) -> int:
    """Coordinates per bead of a run, from its recipe: those of the points between which it runs, or 3."""
    return len(recipe["endpoints"]["start"].get("position_nm", (0, 0, 0)))


def _require_same_inputs(directory: Path, manifest: dict[str, Any]) -> None:
    recipe = SampleRecipe.model_validate_json(json.dumps(manifest["recipe"]))
    require_files(recipe)
    for key, entry in manifest["inputs"].items():
        file = Path(entry["file"])
        if not file.exists() or file_sha256(file) != entry["sha256"]:
            found = "has changed since" if file.exists() else "is gone"
            raise RecipeError(f"{directory}: the input file {file} of this run ({key}) {found}. Restore it.")

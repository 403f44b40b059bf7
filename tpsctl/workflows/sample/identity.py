"""Decides whether two runs are the same run: by a digest of the recipe and of every file it reads."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tpsctl.output.manifest import file_sha256
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.prior import CheckpointPriorSection, OpenMMPriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.force_field import force_field_files


def identify(recipe: SampleRecipe) -> dict[str, Any]:
    """Digest, resolved recipe and hashes of all files that are read, those beside a checkpoint included."""
    files = require_files(recipe)
    beside = _beside(recipe, files.values())
    hashes = {key: file_sha256(file) for key, file in (files | beside).items()}
    return {
        "digest": recipe_digest(recipe, {key: hashes[key] for key in files}, [hashes[key] for key in beside]),
        "recipe": recipe.model_dump(mode="json"),
        "inputs": {key: {"file": str((files | beside)[key]), "sha256": digest} for key, digest in hashes.items()},
    }


def _beside(recipe: SampleRecipe, named: Iterable[Path]) -> dict[str, Path]:
    """Files that are read though the recipe does not name them.

    They come with the checkpoint (e.g. its arguments), are shipped with OpenMM, or are included by a force field.
    """
    found: dict[str, Path] = {}
    if isinstance(recipe.prior, CheckpointPriorSection):
        from tpsctl.workflows.checkpoints import files_beside  # torch

        found |= {f"prior.checkpoint: {file.name}": file for file in files_beside(recipe.prior.checkpoint)}
    if isinstance(recipe.prior, OpenMMPriorSection):
        found |= force_field_files("prior.force_field", recipe.prior.force_field, named)
    if recipe.validation.energy is not None:
        found |= force_field_files("validation.energy.force_field", recipe.validation.energy.force_field, named)
    return found

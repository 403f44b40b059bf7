"""Decides whether two runs are the same run: by a digest of the recipe and of every file it reads."""

from pathlib import Path
from typing import Any

from tpsctl.output.manifest import file_sha256
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.recipe.sample import SampleRecipe


def identify(recipe: SampleRecipe) -> dict[str, Any]:
    """Digest, resolved recipe and hashes of all files that are read, those beside a checkpoint included."""
    files, beside = require_files(recipe), _beside(recipe)
    hashes = {key: file_sha256(file) for key, file in (files | beside).items()}
    return {
        "digest": recipe_digest(recipe, {key: hashes[key] for key in files}, [hashes[key] for key in beside]),
        "recipe": recipe.model_dump(mode="json"),
        "inputs": {key: {"file": str((files | beside)[key]), "sha256": digest} for key, digest in hashes.items()},
    }


def _beside(recipe: SampleRecipe) -> dict[str, Path]:
    """Files that come with the checkpoint, e.g. its arguments."""
    if not isinstance(recipe.prior, CheckpointPriorSection):
        return {}
    from tpsctl.workflows.checkpoints import files_beside  # torch

    return {f"prior.checkpoint: {file.name}": file for file in files_beside(recipe.prior.checkpoint)}

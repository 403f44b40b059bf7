"""What `tpsctl refine` does: rounds of paths, shots, guided samples and new guesses, resumed and shared like paths."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tpsctl.environment import versions
from tpsctl.errors import RecipeError
from tpsctl.files import remove_folder, write_text
from tpsctl.output.manifest import read_manifest, write_manifest
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.refine import RefineRecipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.refine.round import Round, RoundResult
from tpsctl.workflows.refine.sections import require_guided
from tpsctl.workflows.sample.identity import identify
from tpsctl.workflows.sample.settings import RunSettings

MARKER = "refine.json"
"""The file that says which recipe a folder belongs to, from the first moment on."""

_BEING_WRITTEN = ".refine."
"""How the names of this file begin while it is written (`files.atomic`)."""


def refine(recipe: RefineRecipe, settings: RunSettings, progress: Progress) -> dict[str, Any]:
    """Do all rounds, go on with them, or find that they were done; the manifest.

    Raises:
        RecipeError: The folder belongs to something else, or the prior of the paths cannot be guided.
        Interrupted: The job was told to stop; what it had done is saved.
    """
    if settings.shard and settings.overwrite:
        raise RecipeError("--overwrite: throws the work of all shards away; not with --shard. Choose another --out.")
    base = load_recipe(recipe.sample, SampleRecipe)
    require_guided(base, recipe)
    folder = (settings.out or recipe.output.directory).resolve()
    identity = _identity(recipe, base)
    _take(folder, identity["digest"], settings)
    done = read_manifest(folder)
    if done is not None:
        progress.say(f"{folder}: this recipe was run here already; nothing to do (--overwrite runs it again).")
        return done | {"directory": str(folder)}
    rows, before = [], None
    for number in range(1, recipe.rounds + 1):
        progress.say(f"round {number} of {recipe.rounds}")
        before = Round(number, recipe, base, folder / f"round_{number}", settings, progress).do(before)
        rows.append({"round": number} | before.facts)
        if not before.guesses:
            break
    return _finished(folder, identity, rows, settings, before)


def _finished(
    folder: Path,
    identity: dict[str, Any],
    rows: list[dict[str, Any]],
    settings: RunSettings,
    last: RoundResult | None,
) -> dict[str, Any]:
    manifest = identity | {
        "name": identity["recipe"]["name"],
        "outcome": rows[-1]["outcome"],
        "rounds": rows,
        "versions": versions(),
    }
    if settings.shard is None or settings.shard.number == 1:
        write_manifest(folder, manifest)
    return manifest | {"directory": str(folder)}


def _take(folder: Path, digest: str, settings: RunSettings) -> None:
    """Take a folder for a recipe.

    Raises:
        RecipeError: It belongs to another recipe or to something else, or there is nothing to go on with.
    """
    marker = folder / MARKER
    found = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    known = json.loads(marker.read_text(encoding="utf-8"))["digest"] if marker.exists() else None
    # the list is older than the look at the marker, so that another shard that begins at this moment is recognized
    if known is None and any(not name.startswith(_BEING_WRITTEN) for name in found):
        raise RecipeError(f"{folder}: holds files of something else. Choose another directory with --out.")
    if known is None and settings.resume:
        raise RecipeError(f"{folder}: --resume: there is nothing to go on with. Leave --resume out to begin.")
    if known is not None and settings.overwrite:
        for each in sorted(folder.glob("round_*")):
            remove_folder(each, last="sample")
        (folder / "manifest.json").unlink(missing_ok=True)
    elif known not in (None, digest):
        raise RecipeError(
            f"{folder}: another recipe was run here, or its files have changed. Choose another directory with --out, "
            "or replace all rounds with --overwrite."
        )
    if known != digest:
        write_text(marker, json.dumps({"digest": digest}) + "\n")


def _identity(recipe: RefineRecipe, base: SampleRecipe) -> dict[str, Any]:
    """What decides the result, with its digest: both recipes, and the files that are read."""
    of_paths = identify(base)
    wishes = recipe.model_dump(mode="json", exclude={"output", "sample"})
    contents = json.dumps([wishes, of_paths["digest"]], sort_keys=True)
    digest = hashlib.sha256(contents.encode()).hexdigest()
    return {"digest": digest, "recipe": recipe.model_dump(mode="json"), "inputs": of_paths["inputs"]}

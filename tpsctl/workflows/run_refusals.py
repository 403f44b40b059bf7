"""What is told of a run directory that cannot be used: the same words for every command."""

import re
from pathlib import Path
from typing import Any

from tpsctl import __version__
from tpsctl.errors import RecipeError, StateError
from tpsctl.jobs.plan import read_plan
from tpsctl.output.manifest import NAME

AGAIN = "Restore it, or run the recipe again."
"""What to do about a file of a run that is missing or damaged."""

SAMPLED = "Name a directory that `tpsctl sample` has written."


def missing(file: Path) -> RecipeError:
    """The error that a file of a run is not there."""
    return RecipeError(f"{file}: missing. {AGAIN}")


def damaged(file: Path, problem: str) -> RecipeError:
    """The error that a file of a run cannot be used."""
    return RecipeError(f"{file}: damaged ({problem}). {AGAIN}")


def no_finished_run(directory: Path) -> RecipeError:
    """The error that there is no manifest in a directory, because the run in it is unfinished, or there is none."""
    try:
        plan = read_plan(directory)
        go_on = "" if plan is None else f"Go on with `{plan.command()}`"
    except StateError:
        go_on = "Run its recipe again"
    if go_on:
        return RecipeError(
            f"{directory}: the run here is not finished, expected a finished one. {go_on}, or join its shards with "
            f"`tpsctl gather {directory}`."
        )
    found = f"it has no {NAME}" if directory.is_dir() else ("it is a file" if directory.exists() else "no such folder")
    return RecipeError(f"{directory}: not the directory of a finished run ({found}). {SAMPLED}")


def of_another_version(manifest: dict[str, Any]) -> str:
    """Who wrote a manifest that cannot be read, and what to do; only the latter if this version of tpsctl did."""
    theirs = str(manifest.get("versions", {}).get("tpsctl", "of unknown version"))
    if theirs == __version__:
        return AGAIN
    if release_order(theirs) > release_order(__version__):
        return f"the newer tpsctl {theirs} wrote it, and this is {__version__}. Update tpsctl."
    return f"the older tpsctl {theirs} wrote it, and this is {__version__}. Run the recipe again."


def release_order(version: str) -> tuple[list[int], float]:
    """A key that sorts versions of tpsctl: the release, then the number of a development version before it."""
    found = re.match(r"(\d+(?:\.\d+)*)(?:\.dev(\d+))?", version)
    if found is None:
        return [], 0.0
    return [int(part) for part in found[1].split(".")], float(found[2] or "inf")

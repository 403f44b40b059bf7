"""`tpsctl gather`: finished batches -> one verified run directory; also the end of a run in one piece.

May be started again at any time: what is complete stays, what a kill left half done is made anew, and the state goes
only after every file was compared with what was assembled.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from tpsctl.errors import OutputError, RecipeError, StateError
from tpsctl.jobs.directory import publish
from tpsctl.jobs.lease import Lease, leased
from tpsctl.jobs.plan import Plan, read_plan
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.snapshots import remove_leftovers
from tpsctl.jobs.store import read_state
from tpsctl.output.manifest import read_manifest, write_manifest
from tpsctl.prior.potentials import NamedPotential
from tpsctl.progress import Progress
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample import assemble, results
from tpsctl.workflows.sample.batch import Batch
from tpsctl.workflows.sample.identity import identify

_SHOWN = 10


def gather(directory: Path, progress: Progress, *, scratch: Path | None = None) -> dict[str, Any]:
    """Make the result of all batches; its manifest.

    Raises:
        RecipeError: There is no run in the directory.
        OutputError: Batches are missing, with the commands that make them; or a file cannot be written.
    """
    plan = read_plan(directory)
    if plan is None:
        return _there_already(directory, progress)
    with leased(Lease(plan.folder / "gather.json")):
        found = read_plan(directory)  # again: another process may just have been faster
        if found is None or found.result is not None:
            manifest = _there_already(directory, progress)
        else:
            remove_leftovers(plan.folder)
            manifest = _make(plan, read_batches(plan, progress), progress, scratch)
        plan.finish()
    return manifest


def read_batch(plan: Plan, batch: int) -> Batch | None:
    """A finished batch; None if it is not there, is damaged, or is of another run."""
    try:
        tensors, facts = read_state(plan.batch_file(batch))
    except StateError:
        return None
    return Batch.from_stored(tensors, facts) if facts["digest"] == plan.digest else None


def read_batches(plan: Plan, progress: Progress) -> list[Batch]:
    """All batches.

    Raises:
        OutputError: Some are missing or damaged; it says which, and how to make them.
    """
    found = {batch: read_batch(plan, batch) for batch in range(plan.batches)}
    missing = [batch for batch, content in found.items() if content is None]
    if missing:
        raise OutputError("\n".join(_what_is_missing(plan, missing)))
    progress.say(f"{plan.batches} batches, {plan.paths} paths")
    return [content for content in found.values() if content is not None]


def _make(plan: Plan, batches: list[Batch], progress: Progress, scratch: Path | None) -> dict[str, Any]:
    """Assemble, verify, move."""
    recipe = SampleRecipe.model_validate_json(json.dumps(plan.identity["recipe"]))
    if identify(recipe)["digest"] != plan.digest:
        raise RecipeError(f"{plan.directory}: an input file has changed since the batches were made. Restore it.")
    system = assemble.make_system(recipe.endpoints)
    run = results.Finished(recipe, system, Batch.joined(batches), _potential(recipe, system))
    manifest = plan.identity | results.describe(run, batches) | {"directory": str(plan.directory)}
    assembled = plan.folder / "result"
    folder = (scratch or plan.folder) / "result"
    for old in {assembled, folder}:
        shutil.rmtree(old, ignore_errors=True)
    progress.say(f"writing {plan.directory} ...")
    results.write_files(folder, run)
    write_manifest(folder, manifest)
    if folder != assembled:
        _copy(folder, assembled)
    publish(assembled, plan.directory)
    return manifest


def _copy(folder: Path, target: Path) -> None:
    """From the scratch folder to the run directory's file system."""
    try:
        shutil.copytree(folder, target)
    except (OSError, shutil.Error) as error:
        raise OutputError(f"{target}: cannot be written ({error}).") from None
    shutil.rmtree(folder, ignore_errors=True)


def _potential(recipe: SampleRecipe, system: assemble.System) -> NamedPotential | None:
    if system.is_molecule:
        return None
    return assemble.make_prior(recipe.prior, system, torch.device("cpu")).potential


def _there_already(directory: Path, progress: Progress) -> dict[str, Any]:
    manifest = read_manifest(directory) if directory.is_dir() else None
    if manifest is None:
        raise RecipeError(f"{directory}: no run is here, complete or not. Begin one with `tpsctl sample`.")
    progress.say(f"{directory}: complete already; nothing to gather.")
    return manifest | {"directory": str(directory)}


def _what_is_missing(plan: Plan, missing: list[int]) -> list[str]:
    """A message: which batches are missing, and the commands that make them."""
    named = ", ".join(
        f"{batch} (paths {plan.numbers(batch)[0]}-{plan.numbers(batch)[-1]})" for batch in missing[:_SHOWN]
    )
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    shards = dict.fromkeys(Shard(batch % of + 1, of) for of in [_shards(plan)] for batch in missing)
    commands = [f"  {plan.command(shard)}" for shard in list(shards)[:_SHOWN]]
    if len(shards) > _SHOWN:
        commands.append(f"  and {len(shards) - _SHOWN} more shards")
    return [
        f"{plan.directory}: {len(missing)} of {plan.batches} batches are not there: {named}{more}.",
        "Make them, then gather again:",
        *commands,
    ]


def _shards(plan: Plan) -> int:
    """Into how many shards the run was divided: what most of them say."""
    counts = Counter(int(folder.name.rpartition("_")[2]) for folder in (plan.folder / "shards").glob("*_of_*"))
    return counts.most_common(1)[0][0] if counts else 1

"""What `tpsctl shoot` does: shots from the path of a finished run, kept, resumed and shared as the paths are."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tpsctl.environment import default_threads
from tpsctl.errors import RecipeError
from tpsctl.jobs.batches import BatchedJob, compute_batches, gather_batches
from tpsctl.jobs.keeper import KeepingSettings, ShardKeeper
from tpsctl.jobs.plan import Plan, open_plan
from tpsctl.jobs.shard import WHOLE
from tpsctl.jobs.side_by_side import Process, run_side_by_side
from tpsctl.output.manifest import NAME, file_sha256
from tpsctl.progress import Progress
from tpsctl.simulation.shooting.committor import ShotRule
from tpsctl.workflows.shoot.committor import BLOCK, CommittorSearch, Question
from tpsctl.workflows.shoot.engine import make_dynamics
from tpsctl.workflows.shoot.finished import ExaminedRun
from tpsctl.workflows.shoot.settings import ShootSettings
from tpsctl.workflows.shoot.starts import Start, linear_top, starts_on_path, straight_images, thermal_excess
from tpsctl.workflows.shoot.states import StateMaker

FOLDER = "shooting"
"""Where in the run the committors go."""


def shoot(settings: ShootSettings, progress: Progress) -> dict[str, Any]:
    """Shoot, go on with it, or find that it was done; the manifest, or what the shard did.

    Raises:
        RecipeError: There is no finished run, or the wishes do not fit it.
        Interrupted: The job was told to stop; what it had done is saved.
    """
    if settings.shard and settings.overwrite:
        raise RecipeError("--overwrite: throws the work of all shards away; not with --shard. Choose another --out.")
    threads = settings.threads or default_threads()
    torch.set_num_threads(1)
    run = ExaminedRun(settings.run, settings.assignments, threads=1)
    job, about, blocks = _committor(run, settings, progress)
    where = (settings.out or run.directory / FOLDER).resolve()
    origin = (*settings.origin, "--out", str(where))
    replaces = settings.overwrite and (where / NAME).exists()
    wanted = Plan(where, _identity(run, about), blocks, 1, replaces, origin, together=True, subcommand="shoot")
    plan = open_plan(wanted, overwrite=settings.overwrite, resume=settings.resume, shard=settings.shard or WHOLE)
    if not isinstance(plan, Plan):
        progress.say(f"{where}: these shots were made already; nothing to do (--overwrite makes them again).")
        return plan | {"directory": str(where)}
    if settings.shard is None and settings.origin and min(threads, blocks) > 1:
        run_side_by_side(
            plan, [Process(("--threads", "1"))] * min(threads, blocks), progress, rounds=settings.most // BLOCK
        )
    else:
        keeping = KeepingSettings(settings.max_hours)
        done = compute_batches(job, plan, ShardKeeper(plan, settings.shard or WHOLE, keeping, progress), progress)
        if settings.shard:
            return done
    return gather_batches(where, lambda _: job, progress)


def _committor(run: ExaminedRun, settings: ShootSettings, progress: Progress) -> tuple[BatchedJob, dict[str, Any], int]:
    """The job of the committors, what decides its result, and the blocks of a round."""
    number = run.best_path if settings.path is None else settings.path
    path = run.path(number)
    top = run.top(number) if settings.images is None or "raw" in run.manifest["paths"][number] else None
    tools = run.tools
    topology = tools.given_system.topology if tools.given_system.is_molecule else None
    states, section = StateMaker(topology, path[[0, -1]]).make(run.recipe.validation.states)
    starts = starts_on_path(path, top, settings.images)
    if settings.images is None and topology is not None:
        starts.append(linear_top(path, run.energies(straight_images(path))))
    dynamics = make_dynamics(run, settings.physics, torch.stack([path[0], path[-1], *(one.x for one in starts)]))
    starts = _with_energies(run, path, starts, settings.physics.temperature_k or run.temperature_k)
    seed = run.recipe.seed if settings.seed is None else settings.seed
    rule = ShotRule(settings.least, settings.most, settings.width)
    progress.say(f"path {number}: {', '.join(start.name for start in starts)}; {dynamics.name}")
    about = {
        "path": number,
        "starts": [start.name for start in starts],
        "states": section.model_dump(mode="json"),
        "turning_torsions": [torsion.name for torsion in StateMaker(topology, path[[0, -1]]).turning],
        "dynamics": dynamics.about,
        "shots": {"least": rule.least, "most": rule.most, "width": rule.width, "block": BLOCK},
        "seed": seed,
    }
    question = Question(starts, states, dynamics, seed, rule)
    return (
        CommittorSearch(question, {"name": run.manifest["name"], "dynamics": dynamics.name}, progress),
        about,
        len(starts),
    )


def _with_energies(run: ExaminedRun, path: Tensor, starts: Sequence[Start], temperature_k: float) -> list[Start]:
    """The starts with their energies above the highest image of the path, as far as energies are known."""
    energies = run.energies(torch.stack([*path, *(start.x for start in starts)]))
    if energies is None:
        return list(starts)
    excess = energies[len(path) :] - energies[: len(path)].max()
    rigid = 6 if run.tools.given_system.is_molecule else 0
    most = thermal_excess(path[0].numel() - rigid, temperature_k)
    numbers = excess.nan_to_num(nan=torch.inf).tolist()
    return [
        replace(start, excess_kj_per_mol=above, most_excess_kj_per_mol=most)
        for start, above in zip(starts, numbers, strict=True)
    ]


def _identity(run: ExaminedRun, about: dict[str, Any]) -> dict[str, Any]:
    """What decides the result, with its digest: the wishes as resolved, the path, the files that were read."""
    files = {f"run: {name}": run.directory / name for name in (f"paths/path_{about['path']:04d}.dcd",)}
    hashed = {key: {"file": str(file), "sha256": file_sha256(file)} for key, file in files.items()}
    prefixes = ["endpoints.", "validation."] + ["prior."] * (about["dynamics"]["dynamics"] == "overdamped")
    inputs = hashed | run.require_inputs(prefixes)
    contents = json.dumps([about, {key: entry["sha256"] for key, entry in inputs.items()}], sort_keys=True)
    return {"digest": hashlib.sha256(contents.encode()).hexdigest(), "recipe": about, "inputs": inputs}

"""What `tpsctl shoot` does: shots from the path of a finished run, kept, resumed and shared as the paths are."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from tpsctl.molecule.topology import Topology
from tpsctl.output.manifest import NAME, file_sha256
from tpsctl.progress import Progress
from tpsctl.simulation.shooting.committor import ShotRule
from tpsctl.simulation.shooting.states import TwoStates
from tpsctl.simulation.shooting.two_way import TwoWay
from tpsctl.workflows.shoot.committor import BLOCK, CommittorSearch, Question
from tpsctl.workflows.shoot.engine import make_dynamics
from tpsctl.workflows.shoot.ensemble import BURN_IN, CHAINS, TRIALS, EnsembleQuestion, EnsembleSearch
from tpsctl.workflows.shoot.ensemble_results import PATH, EnsembleWriter
from tpsctl.workflows.shoot.examined import ExaminedRun
from tpsctl.workflows.shoot.features import coordinates_of, straight_torsions, torsions_of
from tpsctl.workflows.shoot.separation import require_separated
from tpsctl.workflows.shoot.settings import ShootSettings
from tpsctl.workflows.shoot.starts import Start, linear_top, starts_on_path, straight_images, thermal_excess
from tpsctl.workflows.shoot.states import StateMaker
from tpsctl.workflows.stored_run import SHOTS

ENSEMBLE = "ensemble"
"""Folder of a run directory with an ensemble of transition paths, unless it is elsewhere."""


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
    run = ExaminedRun.read(settings.run, settings.assignments, threads=1)
    asked = _asked(run, settings)
    job, about, blocks = (_ensemble if settings.ensemble else _committor)(run, asked, settings, progress)
    folder = ENSEMBLE if settings.ensemble else SHOTS
    where = (settings.out or run.stored.directory / folder).resolve()
    origin = (*settings.origin, "--out", str(where))
    replaces = settings.overwrite and (where / NAME).exists()
    wanted = Plan(where, _identity(run, about), blocks, 1, replaces, origin, together=True, subcommand="shoot")
    plan = open_plan(wanted, overwrite=settings.overwrite, resume=settings.resume, shard=settings.shard or WHOLE)
    if not isinstance(plan, Plan):
        progress.say(f"{where}: these shots were made already; nothing to do (--overwrite makes them again).")
        return plan | {"directory": str(where)}
    if settings.shard is None and settings.origin and min(threads, blocks) > 1:
        run_side_by_side(plan, [Process(("--threads", "1"))] * min(threads, blocks), progress, rounds=0)
    else:
        keeping = KeepingSettings(settings.max_hours)
        done = compute_batches(job, plan, ShardKeeper(plan, settings.shard or WHOLE, keeping, progress), progress)
        if settings.shard:
            return done
    return gather_batches(where, lambda _: job, progress)


@dataclass(frozen=True)
class _Asked:
    """What both jobs need: a path, its states, and the top; `about` is what decides the result."""

    path: Tensor
    top: int | None
    topology: Topology | None
    maker: StateMaker
    states: TwoStates
    seed: int
    about: dict[str, Any]


def _asked(run: ExaminedRun, settings: ShootSettings) -> _Asked:
    number = run.best_path if settings.path is None else settings.path
    path = run.stored.path(number)
    top = run.top(number) if settings.images is None or "raw" in run.stored.entries[number] else None
    system = run.tools.given_system
    topology = system.topology if system.is_molecule else None
    maker = StateMaker(topology, path[[0, -1]])
    wanted = run.tools.given.validation.states
    states, section = maker.make(wanted)
    temperature_k = settings.physics.temperature_k or run.stored.temperature_k
    image = _image_asked_about(settings, top)
    require_separated(states, path, image, run.energies, temperature_k=temperature_k, chosen=wanted is not None)
    seed = run.tools.given.seed if settings.seed is None else settings.seed
    about = {
        "path": number,
        "states": section.model_dump(mode="json"),
        "turning_torsions": [torsion.name for torsion in maker.turning],
        "seed": seed,
    }
    return _Asked(path, top, topology, maker, states, seed, about)


def _image_asked_about(settings: ShootSettings, top: int | None) -> int | None:
    """The image that must lie between the states: the top, if it is shot from, or where an ensemble begins."""
    if settings.images is None or top in settings.images:
        return top
    return settings.images[0] if settings.ensemble else None


def _committor(
    run: ExaminedRun, asked: _Asked, settings: ShootSettings, progress: Progress
) -> tuple[BatchedJob, dict[str, Any], int]:
    """The job of the committors, what decides its result, and the blocks of a round."""
    path = asked.path
    starts = starts_on_path(path, asked.top, settings.images)
    if settings.images is None and asked.topology is not None:
        starts.append(linear_top(path, run.energies(straight_images(path))))
    dynamics = make_dynamics(run, settings.physics, torch.stack([path[0], path[-1], *(one.x for one in starts)]))
    starts = _with_energies(run, path, starts, settings.physics.temperature_k or run.stored.temperature_k)
    rule = ShotRule(settings.least, settings.most, settings.width)
    progress.say(f"path {asked.about['path']}: {', '.join(start.name for start in starts)}; {dynamics.name}")
    about = asked.about | {
        "starts": [start.name for start in starts],
        "dynamics": dynamics.about,
        "shots": {"least": rule.least, "most": rule.most, "width": rule.width, "block": BLOCK},
    }
    question = Question(starts, asked.states, dynamics, asked.seed, rule)
    facts = {"name": run.stored.name, "dynamics": dynamics.name}
    return CommittorSearch(question, facts, progress), about, len(starts)


def _ensemble(
    run: ExaminedRun, asked: _Asked, settings: ShootSettings, progress: Progress
) -> tuple[BatchedJob, dict[str, Any], int]:
    """The job of the ensemble, what decides its result, and the blocks of a round."""
    path, turning = asked.path, asked.maker.turning
    image = asked.top if settings.images is None else settings.images[0]
    (start,) = starts_on_path(path, asked.top, (image,) if image is not None else None)
    dynamics = make_dynamics(run, settings.physics, torch.stack([path[0], path[-1], start.x]))
    progress.say(f"path {asked.about['path']}: two-way shooting from {start.name}; {dynamics.name}")
    features = torsions_of(turning) if turning else coordinates_of(path)
    names = [torsion.name for torsion in turning] or [f"coordinate {k + 1}" for k in range(features(path).shape[1])]
    judged = {PATH: features(path), "straight line": features(straight_images(path))}
    if turning:
        judged["straight line of torsions"] = straight_torsions(features(path))
    about = asked.about | {
        "start": start.name,
        "dynamics": dynamics.about,
        "ensemble": {"wanted": settings.ensemble, "chains": CHAINS, "trials_per_block": TRIALS, "burn_in": BURN_IN},
    }
    two_way = TwoWay(dynamics.propagator, asked.states, dynamics.longest_ps)
    question = EnsembleQuestion(start.x, two_way, features, asked.seed, settings.ensemble)
    facts = {"name": run.stored.name, "dynamics": dynamics.name}
    writer = EnsembleWriter(names, bool(turning), dynamics.propagator.frame_ps, judged, start.number, facts)
    return EnsembleSearch(question, writer.write, progress), about, CHAINS


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
    file = run.stored.path_file(about["path"])
    hashed = {f"run: paths/{file.name}": {"file": str(file), "sha256": file_sha256(file)}}
    prefixes = ["endpoints.", "validation."] + ["prior."] * (about["dynamics"]["dynamics"] == "overdamped")
    inputs = hashed | run.stored.require_inputs(prefixes)
    contents = json.dumps([about, {key: entry["sha256"] for key, entry in inputs.items()}], sort_keys=True)
    return {"digest": hashlib.sha256(contents.encode()).hexdigest(), "recipe": about, "inputs": inputs}

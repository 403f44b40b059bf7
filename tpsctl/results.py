"""Everything a run leaves: files, the manifest, one status per path."""

import math
import os
import platform
import socket
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.assemble import System, path_seed
from tpsctl.doctor import versions
from tpsctl.guess.screen import Screening
from tpsctl.judge import Verdict
from tpsctl.optimize.base import Outcome, Status
from tpsctl.output import figures, tables
from tpsctl.output.trajectory import write_path, write_topology
from tpsctl.prior.base import Prior
from tpsctl.recipe.models import Recipe
from tpsctl.trace import TERMS, Trace
from tpsctl.validation.energy import PathEnergies


class Clock:
    """Wall time of the parts of a run."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


@dataclass(frozen=True)
class Finished:
    """A run with all its parts done, not yet written."""

    recipe: Recipe
    system: System
    prior: Prior
    screening: Screening
    paths: Tensor
    stages: tuple[Outcome, ...]
    trace: Trace
    verdict: Verdict

    @property
    def outcome(self) -> Outcome:
        """That of the last stage."""
        return self.stages[-1]

    @property
    def steps(self) -> list[int]:
        """Optimizer steps of every path over all stages."""
        return [sum(of_path) for of_path in zip(*(stage.steps for stage in self.stages), strict=True)]


def write_files(folder: Path, run: Finished) -> None:
    """Trajectories, tables and figures."""
    recipe, verdict = run.recipe, run.verdict
    write_topology(folder, run.system.topology, run.system.ends[0], name=recipe.name)
    for i, path in enumerate(run.paths):
        write_path(folder, i, path, run.system.topology, dt_ps=recipe.action.dt_ps, formats=recipe.output.trajectories)
    columns = tables.path_columns(
        status=run.outcome.status,
        terms=run.outcome.terms,
        steps=run.steps,
        gradient_max=run.outcome.gradient_max,
        profiles=verdict.profiles,
        dihedrals=verdict.dihedrals,
        valid=verdict.gate.verdicts,
        seconds=run.trace.seconds,
    ) | ({"channel": list(map(str, verdict.channels))} if verdict.channels else {})
    tables.write_table(folder / "paths.csv", columns)
    tables.write_table(
        folder / "images.csv",
        tables.image_columns(
            profiles=verdict.profiles,
            displacement_nm=None if verdict.energies is None else verdict.energies.displacement_nm,
            gap_nm=verdict.gap_nm,
            dihedrals=verdict.dihedrals,
            gate=verdict.gate.columns,
        ),
    )
    if recipe.output.figures:
        _draw(folder / "figures", run)


def _draw(folder: Path, run: Finished) -> None:
    verdict, name = run.verdict, run.recipe.name
    above = {kind: profile.above_start for kind, profile in verdict.profiles.items()}
    if above:
        figures.energy_profile(folder / "energy", above, title=name)
    terms = {key: torch.stack([entry[key] for entry in run.trace.terms]) for key in run.trace.terms[0]}
    shown = {key: value for key, value in terms.items() if key == "total" or bool((value != 0).any())}
    figures.action_history(folder / "action", run.trace.steps, shown, title=name, stages=run.trace.stages)
    for label, phi in verdict.dihedrals.items():
        residue = label.removeprefix("phi ")
        psi = verdict.dihedrals.get(f"psi {residue}")
        if label.startswith("phi ") and psi is not None:
            figures.ramachandran(
                folder / f"ramachandran_{residue.lower()}",
                phi,
                psi,
                title=f"{name}, {residue}",
                above_start=above.get("raw"),
            )
    if run.prior.potential is not None and run.paths.shape[2:] == (1, 2):
        figures.contour(folder / "contour", run.paths, run.prior.potential.energy, title=name)


def describe(run: Finished, clock: Clock, *, device: torch.device, threads: int) -> dict[str, Any]:
    """The manifest without the run's identity."""
    paths = [_path_entry(run, i) for i in range(len(run.paths))]
    return {
        "name": run.recipe.name,
        "outcome": outcome(paths),
        "requested": run.recipe.path.paths,
        "produced": len(paths),
        "valid": sum(entry["gate"] == "valid" for entry in paths),
        "converged": sum(entry["status"] == Status.CONVERGED for entry in paths),
        "paths": paths,
        "guesses": asdict(run.screening),
        "stages": [
            _stage_entry(stage, outcome) for (_, stage), outcome in zip(run.trace.stages, run.stages, strict=True)
        ],
        "energies": _protocol(run.verdict.energies),
        "notes": run.system.notes,
        "started": clock.started.isoformat(timespec="seconds"),
        "seconds": clock.seconds | {"total": round(sum(clock.seconds.values()), 3)},
        "versions": versions(),
        "machine": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "device": str(device),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "threads": threads,
            "cores": os.cpu_count(),
        },
    }


def _stage_entry(name: str, outcome: Outcome) -> dict[str, Any]:
    """How many paths a stage left in which state."""
    return {"stage": name, "steps": max(outcome.steps), "status": dict(Counter(s.value for s in outcome.status))}


def _protocol(energies: PathEnergies | None) -> dict[str, Any] | None:
    """How energies were computed."""
    if energies is None:
        return None
    restraint = None if energies.restraint is None else asdict(energies.restraint)
    return {"force_field": energies.force_field, "platform": energies.platform, "restraint": restraint}


def outcome(paths: list[dict[str, Any]]) -> str:
    """ "complete", "not_converged" or "not_valid": the worst of the paths'."""
    if any(entry["gate"] != "valid" for entry in paths):
        return "not_valid"
    return "complete" if all(entry["status"] == Status.CONVERGED for entry in paths) else "not_converged"


def _path_entry(run: Finished, i: int) -> dict[str, Any]:
    outcome, verdict = run.outcome, run.verdict
    entry: dict[str, Any] = {
        "path": i,
        "channel": verdict.channels[i] if verdict.channels else None,
        "seed": path_seed(run.recipe.seed, i),
        "status": outcome.status[i].value,
        "remedy": outcome.remedy[i],
        "gate": verdict.gate.verdicts[i],
        "steps": run.steps[i],
        "action": {name: getattr(outcome.terms, name)[i].item() for name in ("total", *TERMS, "divergence_error")},
        "gradient_max_per_nm": outcome.gradient_max[i].item(),
        "largest_over_mean_gap": (verdict.gap_nm[i].max() / verdict.gap_nm[i].mean()).item(),
    }
    for kind, profile in verdict.profiles.items():
        top = int(profile.highest_image[i])
        entry[kind] = {
            "highest_image": top,
            "highest_energy_kj_per_mol": profile.energy[i, top].item(),
            "barrier_forward_kj_per_mol": profile.barrier_forward[i].item(),
            "barrier_backward_kj_per_mol": profile.barrier_backward[i].item(),
            "dihedrals_deg": {name: math.degrees(angle[i, top]) for name, angle in verdict.dihedrals.items()},
        }
    return entry

"""Writes everything a run leaves: files, the manifest, one status per path."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.environment import versions
from tpsctl.optimize.outcome import Outcome, Status
from tpsctl.output import tables
from tpsctl.output.trajectory import write_path, write_topology
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.validation.remedies import gate_remedy, saddle_remedy
from tpsctl.workflows.sample.assemble import System, path_seed
from tpsctl.workflows.sample.batch import PathBatch
from tpsctl.workflows.sample.beyond_data import beyond_data
from tpsctl.workflows.sample.saddle_columns import verdict_columns
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.sample.trace import TERMS, Trace
from tpsctl.workflows.sample.verdict_files import image_columns, profile_entry, protocol_entry

MOST_STEPS = 500
"""Most optimizer steps in steps.csv; of a longer optimization it has steps at equal distances."""


@dataclass(frozen=True)
class FinishedRun:
    """A run with all its parts done, not yet written.

    Attributes:
        recipe: What was run.
        system: The ends and what they are made of.
        batch: All paths.
        chosen: Every number that the recipe may leave open, as it was used, with the reason for it.
    """

    recipe: SampleRecipe
    system: System
    batch: PathBatch
    chosen: dict[str, Any]

    @property
    def dt_ps(self) -> float:
        """Physical time between two images, ps."""
        return self.chosen["action.dt_ps"]["value"]

    @property
    def outcome(self) -> Outcome:
        """How the last stage ended, which is how the run ended."""
        return self.batch.stages[-1]

    @property
    def steps(self) -> list[int]:
        """Optimizer steps of every path over all stages."""
        return [sum(of_path) for of_path in zip(*(stage.steps for stage in self.batch.stages), strict=True)]


def write_results(folder: Path, tools: Tools, batches: Sequence[PathBatch]) -> dict[str, Any]:
    """Write all files of a run but its manifest into a new folder; the manifest without the run's identity."""
    batch = PathBatch.joined(batches)
    run = FinishedRun(tools.recipe, tools.system, batch, chosen_numbers(batch.facts, tools))
    write_files(folder, run)
    return describe(run, tools, batches)


def chosen_numbers(facts: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """What the batches say they used; those begun by a version without a choice used what their recipe gives."""
    return facts["chosen"] if "chosen" in facts else tools.chosen.as_json()


def write_files(folder: Path, run: FinishedRun) -> None:
    """Trajectories and tables."""
    recipe, verdict, trace = run.recipe, run.batch.verdict, run.batch.trace
    write_topology(folder, run.system.topology, run.system.ends[0], name=recipe.name)
    for i, path in enumerate(run.batch.paths):
        write_path(folder, i, path, run.system.topology, dt_ps=run.dt_ps, formats=recipe.output.trajectories)
    columns = tables.path_columns(
        status=run.outcome.status,
        terms=run.outcome.terms,
        steps=run.steps,
        gradient_max=run.outcome.gradient_max,
        profiles=verdict.profiles,
        dihedrals=verdict.dihedrals,
        valid=verdict.verdicts,
        seconds=trace.seconds,
    ) | ({"channel": list(map(str, verdict.channels))} if verdict.channels else {})
    columns |= verdict_columns(verdict) | _frame_columns(run)
    tables.write_table(folder / "paths.csv", columns)
    tables.write_table(folder / "images.csv", image_columns(verdict))
    if trace.steps:
        tables.write_table(folder / "steps.csv", _step_columns(trace))


def _step_columns(trace: Trace) -> dict[str, tables.Column]:
    """The columns of steps.csv."""
    steps = trace.some_steps(MOST_STEPS)
    stages = [trace.stage_at(step) for step in steps]
    terms = {name: torch.stack([trace.terms[step][name] for step in steps]) for name in trace.terms[0]}
    return tables.step_columns(steps, stages, terms)


def _frame_columns(run: FinishedRun) -> dict[str, list[str]]:
    """The frames at which each path begins and ends, as far as the recipe gives sets of them."""
    each = [run.system.frames_of(path) for path in range(len(run.batch.paths))]
    return {column: [str(frames[column]) for frames in each] for column in run.system.frames}


def describe(run: FinishedRun, tools: Tools, batches: Sequence[PathBatch]) -> dict[str, Any]:
    """The manifest without the run's identity; seconds are summed over the batches, wherever they were done."""
    paths, batch = [_path_entry(run, i) for i in range(len(run.batch.paths))], run.batch
    machines = _distinct(each.facts["machine"] for each in batches)
    force_fields = _distinct(each.facts["prior_force_field"] for each in batches)
    laps = [each.facts["seconds"] for each in batches]
    seconds = {name: round(sum(lap.get(name, 0.0) for lap in laps), 3) for name in laps[0]}
    return {
        "name": run.recipe.name,
        "outcome": outcome(paths),
        "chosen": run.chosen,
        "requested": run.recipe.path.paths,
        "produced": len(paths),
        "valid": sum(entry["gate"] == "valid" for entry in paths),
        "converged": sum(entry["status"] == Status.CONVERGED for entry in paths),
        "paths": paths,
        "guesses": asdict(batch.screening),
        "stages": [
            _stage_entry(stage, outcome) for (_, stage), outcome in zip(batch.trace.stages, batch.stages, strict=True)
        ],
        "energies": protocol_entry(batch.verdict.energies),
        "prior_force_fields": [force_field for force_field in force_fields if force_field is not None],
        "notes": (*tools.notes, *beyond_data(tools, list(run.batch.paths))),
        "batches": len(batches),
        "started": min(each.facts["started"] for each in batches),
        "seconds": seconds | {"total": round(sum(seconds.values()), 3)},
        "versions": versions(),
        "machines": machines,
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order of first appearance."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _stage_entry(name: str, outcome: Outcome) -> dict[str, Any]:
    """How many paths a stage left in which state."""
    return {"stage": name, "steps": max(outcome.steps), "status": dict(Counter(s.value for s in outcome.status))}


def outcome(paths: list[dict[str, Any]]) -> str:
    """ "complete", "not_saddle", "not_converged" or "not_valid": the worst of the paths'."""
    if any(entry["gate"] != "valid" for entry in paths):
        return "not_valid"
    if any(entry["status"] != Status.CONVERGED for entry in paths):
        return "not_converged"
    return "complete" if all(entry["is_saddle"] is not False for entry in paths) else "not_saddle"


def _path_entry(run: FinishedRun, i: int) -> dict[str, Any]:
    outcome, verdict = run.outcome, run.batch.verdict
    tops = verdict.tops_of(i)
    advice = (outcome.remedy[i], gate_remedy(verdict.verdicts[i]), saddle_remedy(tops))
    entry: dict[str, Any] = {
        "path": i,
        "channel": verdict.channels[i] if verdict.channels else None,
        "seed": path_seed(run.recipe.seed, i),
        **run.system.frames_of(i),
        "status": outcome.status[i].value,
        "remedy": " ".join(text[0].upper() + text[1:] for text in advice if text),
        "gate": verdict.verdicts[i],
        "is_saddle": all(top.is_saddle for top in tops.values()) if tops and verdict.verdicts[i] == "valid" else None,
        "steps": run.steps[i],
        "action": {name: getattr(outcome.terms, name)[i].item() for name in ("total", *TERMS, "divergence_error")},
        "action_bound": None if verdict.bound is None else verdict.bound.bound[i].item(),
        "gradient_max_per_nm": outcome.gradient_max[i].item(),
        "largest_over_mean_gap": (verdict.gap_nm[i].max() / verdict.gap_nm[i].mean()).item(),
    }
    entry |= {kind: profile_entry(profile, verdict.dihedrals, i) for kind, profile in verdict.profiles.items()}
    return entry | {"tops": {name: {"words": top.words} | asdict(top) for name, top in tops.items()}}

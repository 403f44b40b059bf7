"""`tpsctl compare`: the paths of a run beside controls, baselines and the transition paths of a simulation."""

import math
from pathlib import Path
from typing import Any

from tpsctl.environment import versions
from tpsctl.errors import RecipeError
from tpsctl.files import require_free
from tpsctl.output.manifest import file_sha256, plain
from tpsctl.progress import Progress
from tpsctl.validation.ensemble.bootstrap import BootstrapEstimate
from tpsctl.validation.ensemble.measures import MEASURES
from tpsctl.workflows.compare.ensembles import NO_OM, RUN, STRAIGHT, make_ensembles, tools_like
from tpsctl.workflows.compare.reference import Reference, build_reference
from tpsctl.workflows.compare.results import REMEDY, write_comparison
from tpsctl.workflows.compare.settings import CompareSettings
from tpsctl.workflows.compare.verdicts import EnsembleVerdict, judge_ensemble
from tpsctl.workflows.stored_run import StoredRun

SIMULATION = "simulation"
CONTROLS = (STRAIGHT, NO_OM)


def compare_run(directory: Path, settings: CompareSettings, progress: Progress) -> dict[str, Any]:
    """Compare a finished run; what is written to comparison.json.

    Raises:
        RecipeError: The run or an option is unusable.
        OutputError: There is an earlier comparison, or a file cannot be written.
        EndpointError: A trajectory cannot be read, or is of another molecule.
        ValidationError: The simulation does not suffice for a comparison.
    """
    target = directory / "comparison"
    require_free(target, overwrite=settings.overwrite, remedy=REMEDY)
    _require_consistent(settings)
    run = StoredRun.read(directory)
    run.require_inputs()
    tools = tools_like(run, settings, {})
    reference = build_reference(run, tools.system, settings, progress) if settings.references else None
    ensembles = make_ensembles(run, settings, progress)
    verdicts = {}
    with progress.task("judging", len(ensembles)) as update:
        for number, ensemble in enumerate(ensembles, 1):
            verdicts[ensemble.name] = judge_ensemble(tools, ensemble)
            update(number, ensemble.name)
    rows: list[dict[str, Any]] = [
        {"name": each.name, "about": each.about, "paths": len(each.paths)} | _verdict_entry(verdicts[each.name])
        for each in ensembles
    ]
    answer: dict[str, Any] = {
        "run": run.name,
        "directory": str(target),
        "ensembles": rows,
        "notes": _notes(run.manifest, reference),
        "versions": versions(),
    }
    if reference is not None:
        progress.say("measures and their error bars ...")
        facts = {each.name: reference.reader.read(list(each.paths)) for each in ensembles}
        found = {name: reference.yardstick.row(of_ensemble) for name, of_ensemble in facts.items()}
        count = reference.yardstick.size_of_sets(len(run.paths))
        own = reference.yardstick.own_sets(count)
        for row in rows:
            row["measures"] = {name: vars(value) for name, value in found[row["name"]].items()}
        about = f"random sets of {count} transition paths of the simulation against its other paths"
        measured = {name: vars(value) for name, value in own.items()}
        rows.append({"name": SIMULATION, "about": about, "paths": count, "measures": measured})
        answer |= {
            "measures": {name: judgment(name, found, own) for name in MEASURES},
            "simulation": reference.facts,
            "settings": reference.settings,
            "inputs": {str(file.resolve()): file_sha256(file) for file in _inputs(settings)},
        }
    write_comparison(target, answer, ensembles, reference, overwrite=settings.overwrite)
    return plain(answer)


def judgment(
    name: str, rows: dict[str, dict[str, BootstrapEstimate]], own: dict[str, BootstrapEstimate]
) -> dict[str, Any]:
    """Whether a measure tells the controls from the simulation, and where the run stands.

    Args:
        name: The measure.
        rows: All measures of every ensemble, by its name.
        own: All measures of the simulation's own sets.
    """
    apart = {control: rows[control][name].apart_from(own[name]) for control in CONTROLS}
    told = [control for control, is_apart in apart.items() if is_apart]
    return {
        "told_apart": apart,
        "discriminates": "both controls" if len(told) == len(CONTROLS) else (told[0] if told else "no"),
        "run_like_simulation": None if math.isnan(own[name].value) else not rows[RUN][name].apart_from(own[name]),
    }


def _verdict_entry(verdict: EnsembleVerdict) -> dict[str, Any]:
    highest = {
        kind: {"median_kj_per_mol": verdict.median_highest(kind), "of_paths_kj_per_mol": values}
        for kind, values in verdict.highest_kj_per_mol.items()
    }
    tops = {
        name: {"saddles": verdict.saddles[name], "judged": verdict.judged[name], "of_paths": words}
        for name, words in verdict.tops.items()
    }
    return {"valid": verdict.valid, "gate": verdict.gate, "highest_above_start": highest, "tops": tops}


def _notes(manifest: dict[str, Any], reference: Reference | None) -> list[str]:
    found = []
    guess = manifest["recipe"]["path"]["guess"]["kind"]
    if guess == "linear":
        found.append("the guess of this run is a straight line, so both controls are the same")
    if reference is not None:
        wanted, count = len(manifest["paths"]), reference.yardstick.size_of_sets(len(manifest["paths"]))
        if count < wanted:
            found.append(
                f"the simulation has too few transitions for sets of {wanted}: its row has sets of {count}, "
                "whose sampling error is larger"
            )
        if wanted < 16:
            found.append(f"{wanted} paths are few: sets of eight paths of a simulation differ a lot among themselves")
        found += reference.notes
    return found


def _require_consistent(settings: CompareSettings) -> None:
    if not settings.references:
        given = [
            name
            for name, value in (
                ("--topology", settings.topology),
                ("--select", settings.select),
                ("--lag", settings.lag),
            )
            if value is not None
        ]
        if given:
            raise RecipeError(
                f"{given[0]}: got no --reference, which it belongs to. Name a trajectory, or leave it out."
            )
    if len(set(settings.references)) < len(settings.references):
        raise RecipeError("--reference: the same trajectory is named twice. Name each one once.")


def _inputs(settings: CompareSettings) -> list[Path]:
    return [*settings.references, *([] if settings.topology is None else [settings.topology])]

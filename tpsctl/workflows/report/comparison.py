"""What `tpsctl compare` says of a run's paths: a section of the report."""

import json
import math
from typing import Any

from tpsctl.output.report import Evidence, IntervalChart, IntervalRow, ReportTable
from tpsctl.workflows.compare.ensembles import NO_OM, RUN
from tpsctl.workflows.report.numbers import count, number
from tpsctl.workflows.run_refusals import damaged
from tpsctl.workflows.stored_run import StoredRun

FILE = "comparison/comparison.json"
"""What `tpsctl compare` leaves in a run."""

_TITLES = {
    "visited_states_js_distance": "States on the way: distance from those of the simulation (0: the same)",
    "profile_difference": "How far each event has gone at equal progress: difference (0: the same)",
    "profile_correlation": "How far each event has gone at equal progress: correlation (1: the same)",
    "order_difference": "Order of the events: difference (0: the same)",
    "highest_free_energy_kj_per_mol": "Highest free energy on the way (kJ/mol)",
    "outside_fraction": "Fraction of images where the simulation never was",
    "crosses_transition_state": "Fraction of paths that cross its transition state",
}
"""What the measures mean; see `tpsctl.validation.ensemble.measures`."""

_SIMULATION = "simulation"
_NAMES = {RUN: "this run", NO_OM: "guesses, not optimized", _SIMULATION: "the simulation's own transitions"}


def comparison_of(run: StoredRun) -> Evidence | None:
    """The paths beside controls and a simulation; None if they were not compared.

    Raises:
        RecipeError: The file of the comparison is damaged.
    """
    if not run.has(FILE):
        return None
    file = run.directory / FILE
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        ensembles, measures = found["ensembles"], found.get("measures", {})
    except (OSError, ValueError, KeyError) as error:
        raise damaged(file, str(error)) from None
    verdict, speaks_for = _verdict(measures)
    charts = [_chart(name, ensembles, measures[name]) for name in _TITLES if name in measures]
    return Evidence(
        "Comparison with controls and with a simulation" if measures else "Comparison with controls",
        verdict,
        speaks_for,
        [*_about(found), *(f"Note: {note}." for note in found["notes"])],
        charts,
        [_table(ensembles)],
    )


def _verdict(measures: dict[str, Any]) -> tuple[str, bool | None]:
    """The sentence, and whether it speaks for the paths."""
    if not measures:
        return "The paths were compared with other ways to join the ends, and with no simulation.", None
    telling = [found for found in measures.values() if found["discriminates"] != "no"]
    judged = [found for found in telling if found["run_like_simulation"] is not None]
    alike = sum(found["run_like_simulation"] for found in judged)
    if not judged:
        return "No measure tells a control from the simulation, so the comparison decides nothing.", None
    return (
        f"{count(len(judged), 'measure')} of {len(measures)} can tell a control from the simulation; by {alike} of "
        "these the paths of this run cannot be told from the transitions of the simulation.",
        alike == len(judged),
    )


def _about(found: dict[str, Any]) -> list[str]:
    if "simulation" not in found:
        return []
    facts, settings = found["simulation"], found["settings"]
    return [
        f"The simulation has {facts['frames']:,} frames and {count(facts['transitions'], 'transition')} between A and "
        f"B. Its Markov model of {facts['microstates']} states has a lag of {settings['lag_frames']} frames.",
        "A measure by which no control differs from the simulation says nothing of this run either.",
    ]


def _chart(name: str, ensembles: list[dict[str, Any]], judged: dict[str, Any]) -> IntervalChart:
    rows = [_row(each, each["measures"][name]) for each in ensembles if name in each.get("measures", {})]
    known = [value for row in rows for value in (row.low, row.high, row.value) if math.isfinite(value)]
    own = next((row for row in rows if row.kind == "reference"), None)
    least, most = min(known, default=0.0), max(known, default=1.0)
    extra = 0.06 * max(most - least, 1e-6)
    return IntervalChart(
        _TITLES[name],
        rows,
        least=0.0 if 0 <= least < 0.5 * most else least - extra,
        most=most + extra,
        band=None if own is None or not math.isfinite(own.low) else (own.low, own.high),
        note=_judgment(judged),
    )


def _row(ensemble: dict[str, Any], found: dict[str, Any]) -> IntervalRow:
    value, low, high = (float("nan") if found[key] is None else found[key] for key in ("value", "low", "high"))
    name = ensemble["name"]
    text = f"{value:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(value) else "not defined"
    kind = {RUN: "own", _SIMULATION: "reference"}.get(name, "control")
    return IntervalRow(_NAMES.get(name, name), value, low, high, text, kind)


def _judgment(judged: dict[str, Any]) -> str:
    told = judged["discriminates"]
    if told == "no":
        return "It tells no control from the simulation, so it decides nothing."
    like = {True: "The run is like the simulation.", False: "The run is not like the simulation."}
    tells = "both controls" if told == "both controls" else f"the control “{_NAMES.get(told, told)}”"
    return f"It tells {tells} from the simulation. {like.get(judged['run_like_simulation'], '')}".strip()


def _table(ensembles: list[dict[str, Any]]) -> ReportTable:
    kinds = list(ensembles[0]["highest_above_start"])
    landscapes = list(ensembles[0]["tops"])
    columns = ["paths", "how they were made", "number", "pass the gate"]
    columns += [f"highest energy, {kind}, median (kJ/mol above A)" for kind in kinds]
    columns += [f"tops that are saddles, {landscape.replace('_', ' ')}" for landscape in landscapes]
    rows = []
    for each in ensembles:
        valid = each.get("valid")
        cells = [each["name"], each["about"], str(each["paths"]), "-" if valid is None else str(valid)]
        cells += [_median(each, kind) for kind in kinds]
        cells += [_saddles(each, landscape) for landscape in landscapes]
        rows.append(cells)
    return ReportTable("All ways to join the ends", columns, rows, closed=True)


def _median(ensemble: dict[str, Any], kind: str) -> str:
    value = ensemble.get("highest_above_start", {}).get(kind, {}).get("median_kj_per_mol")
    return number(value) if value is None or abs(value) < 1e5 else f"{value:.1e}"


def _saddles(ensemble: dict[str, Any], landscape: str) -> str:
    found = ensemble.get("tops", {}).get(landscape)
    return "-" if found is None else f"{found['saddles']} of {found['judged']}"

"""Shows a comparison: one table of verdicts, and one of measures, with what tells paths apart."""

import math
from typing import Any

from tpsctl.console import print_table


def show(answer: dict[str, Any]) -> None:
    """Print the tables of a comparison."""
    compared = "measures" in answer
    _show_verdicts(answer, [] if compared else _notes(answer))
    if compared:
        _show_measures(answer)


def _show_verdicts(answer: dict[str, Any], notes: list[str]) -> None:
    rows = [row for row in answer["ensembles"] if "gate" in row]
    kinds, landscapes = list(rows[0]["highest_above_start"]), list(rows[0]["tops"])
    columns = ["ensemble", "paths", "valid"]
    columns += [f"highest E - E(A),\n{kind}, median" for kind in kinds]
    columns += [f"tops that are saddles,\n{name.replace('_', ' ')}" for name in landscapes]
    cells = [
        [row["name"], str(row["paths"]), str(row["valid"])]
        + [_number(row["highest_above_start"][kind]["median_kj_per_mol"]) for kind in kinds]
        + [f"{row['tops'][name]['saddles']} of {row['tops'][name]['judged']}" for name in landscapes]
        for row in rows
    ]
    abouts = [f"{row['name']}: {row['about']}" for row in rows[2:]]
    print_table(f"{answer['run']}: verdicts, energies in kJ/mol", columns, cells, notes=[*abouts, *notes])


def _show_measures(answer: dict[str, Any]) -> None:
    rows = answer["ensembles"]
    columns = ["measure", *(row["name"] for row in rows), "tells apart", "run like\nsimulation"]
    cells = []
    for name, verdict in answer["measures"].items():
        like = {True: "yes", False: "no", None: "-"}[verdict["run_like_simulation"]]
        values = [_interval(row["measures"][name]) for row in rows]
        cells.append([name.replace("_", " "), *values, verdict["discriminates"], like])
    print_table("measures against the simulation, with 95 % intervals", columns, cells, notes=_notes(answer))


def _notes(answer: dict[str, Any]) -> list[str]:
    lines = []
    if "simulation" in answer:
        facts, used = answer["simulation"], answer["settings"]
        scale, rate = facts["slowest_timescale_frames"], facts["rate_a_to_b_per_frame"]
        lines = [
            f"simulation: {facts['frames']} frames of {facts['trajectories']} trajectories, {facts['transitions']} "
            f"transitions (one in {facts['frames_per_transition']:.0f} frames)",
            f"Markov model: {used['observables']}, lag {used['lag_frames']} frames"
            f"{' (chosen)' if used['lag_chosen'] else ''}, {facts['microstates']} microstates, slowest timescale "
            f"{_interval(scale)} frames, rate A to B {_interval(rate)} per frame",
            f"events: {', '.join(used['events'])}",
            "tells apart: the controls whose interval does not overlap that of the simulation's own sets of paths; "
            "what tells no control apart says nothing about the run",
        ]
    lines += [f"note: {note}" for note in answer["notes"]]
    return [*lines, f"files: {answer['directory']}"]


def _interval(estimate: dict[str, float]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if _unknown(value):
        return "-"
    if _unknown(low) or _unknown(high):
        return f"{value:.3g}"
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def _unknown(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"

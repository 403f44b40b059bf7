"""What is written of committors: committor.csv, shots.csv, and the manifest with a verdict in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tpsctl.environment import versions
from tpsctl.output.tables import Column, write_table
from tpsctl.simulation.shooting.committor import HIGHEST, LOWEST, Committor, CommittorVerdict
from tpsctl.workflows.shoot.committor import Question, Shots
from tpsctl.workflows.shoot.starts import Start

CONTROLS = ("control", "straight line")
"""Roles of starts that should be committed, or else the states or the dynamics tell nothing apart."""


def outcome_of(starts: Sequence[Start], shots: Sequence[Shots]) -> str:
    """ "complete" if an image near the top belongs to the transition state; else why not.

    It is "not_transition_state" if none does, and "not_judged" if too few shots arrived to say.
    """
    pairs = zip(starts, shots, strict=True)
    verdicts = [start.verdict(found.committor) for start, found in pairs if _asked(start, starts)]
    if CommittorVerdict.TRANSITION_STATE in verdicts:
        return "complete"
    return "not_judged" if CommittorVerdict.UNDECIDED in verdicts else "not_transition_state"


def write_committors(folder: Path, question: Question, shots: Sequence[Shots], about: dict[str, Any]) -> dict[str, Any]:
    """Write the tables into a new folder, and return the manifest."""
    starts = question.starts
    entries = [_entry(start, found) for start, found in zip(starts, shots, strict=True)]
    write_table(folder / "committor.csv", {name: _column(entries, name) for name in entries[0]})
    write_table(folder / "shots.csv", _shot_columns(question, shots))
    judged = sum(found.committor.verdict is not CommittorVerdict.UNDECIDED for found in shots)
    return about | {
        "kind": "committor",
        "outcome": outcome_of(starts, shots),
        "verdict": verdict_in_words(starts, shots),
        "requested": len(starts),
        "produced": len(starts),
        "converged": judged,
        "valid": judged,
        "starts": entries,
        "versions": versions(),
    }


def verdict_in_words(starts: Sequence[Start], shots: Sequence[Shots]) -> str:
    """What the shots say of the path, in one or two sentences."""
    pairs = list(zip(starts, shots, strict=True))
    asked = [(start, found.committor) for start, found in pairs if _asked(start, starts)]
    start, best = min(asked, key=_rank)
    low, high = best.interval
    number = f"p_B = {best.p_b:.2f}, 95 % interval {low:.2f} to {high:.2f}, {best.shots} shots"
    match outcome_of(starts, shots):
        case "complete":
            first = f"The path crosses the transition state: {start.name} has {number}."
        case "not_judged":
            first = f"Nothing can be said: {start.name}, {best.words}. Allow more --longest-ps, or widen the states."
        case _:
            first = (
                f"The top of the path is no transition state: {start.name}, which comes closest, has {number}, not "
                f"{LOWEST:g} to {HIGHEST:g}."
            )
    controls = [(one, found.committor) for one, found in pairs if one.role in CONTROLS]
    inside = [one.name for one, found in controls if one.verdict(found) is CommittorVerdict.TRANSITION_STATE]
    if inside:
        return f"{first} But so are controls that should be committed: {', '.join(inside)}."
    outside = [one.name for one, found in controls if one.verdict(found) is not CommittorVerdict.UNDECIDED]
    return f"{first} The controls are not: {', '.join(outside)}." if outside else first


def _asked(start: Start, starts: Sequence[Start]) -> bool:
    """Whether a start is about the transition state: the top; or if there is none, all that are no controls."""
    if any(one.role == "top" for one in starts):
        return start.role in ("top", "neighbor")
    return start.role not in CONTROLS


def _rank(pair: tuple[Start, Committor]) -> tuple[bool, float]:
    """The top first if it belongs to the transition state, then whatever is nearest to p_B = 1/2."""
    start, found = pair
    top = start.role == "top" and start.verdict(found) is CommittorVerdict.TRANSITION_STATE
    return not top, abs(found.p_b - 0.5) if found.arrived else 2.0


def _entry(start: Start, shots: Shots) -> dict[str, Any]:
    found = shots.committor
    low, high = found.interval
    least, most = found.bounds
    arrived = shots.length_ps[torch.tensor([arrival in ("A", "B") for arrival in shots.arrivals], dtype=torch.bool)]
    return {
        "start": start.name,
        "role": start.role,
        "shots": found.shots,
        "to_a": found.a,
        "to_b": found.b,
        "to_neither": found.neither,
        "failed": found.failed,
        "p_b": found.p_b,
        "p_b_low": low,
        "p_b_high": high,
        "p_b_least": least,
        "p_b_most": most,
        "mean_length_ps": float(arrived.mean()) if len(arrived) else float("nan"),
        "energy_above_top_kj_per_mol": start.excess_kj_per_mol,
        "verdict": start.words(found),
    }


def _shot_columns(question: Question, shots: Sequence[Shots]) -> dict[str, Column]:
    rows = [
        (start, number, arrival)
        for start, found in zip(question.starts, shots, strict=True)
        for number, arrival in enumerate(found.arrivals)
    ]
    return {
        "start": [start.name for start, _, _ in rows],
        "seed": [str(question.seed) for _ in rows],
        "start_number": [str(start.number) for start, _, _ in rows],
        "shot": [str(number) for _, number, _ in rows],
        "outcome": [str(arrival) for _, _, arrival in rows],
        "length_ps": torch.cat([found.length_ps for found in shots]),
    }


def _column(entries: Sequence[dict[str, Any]], name: str) -> Column:
    values = [entry[name] for entry in entries]
    if isinstance(values[0], str):
        return values
    return torch.tensor(values, dtype=torch.float64 if isinstance(values[0], float) else torch.int64)

"""Shows how two runs differ: a table for people, or JSON for scripts."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tpsctl.console import print_table
from tpsctl.workflows.diff import PARTS, RunDifference

_MOST_CHARACTERS = 60


def as_json(runs: Sequence[Path], found: Sequence[RunDifference]) -> dict[str, Any]:
    """Both runs, whether each part is equal, and every difference."""
    return {
        "runs": [str(run) for run in runs],
        "equal": not found,
        "equal_parts": {part: all(each.part != part for each in found) for part in PARTS},
        "differences": [asdict(each) for each in found],
    }


def show(runs: Sequence[Path], found: Sequence[RunDifference]) -> None:
    """Print every difference, and which parts are equal."""
    rows = [[each.part, each.key, _cell(each.first), _cell(each.second)] for each in found]
    differing = {each.part for each in found}
    equal = [part for part in PARTS if part not in differing]
    notes = [f"equal: {', '.join(equal) or 'nothing'}"]
    print_table(f"{len(found)} differences", ["part", "what", str(runs[0]), str(runs[1])], rows, notes=notes)


def _cell(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."

"""Makes the HTML of a report: one text with style, programs, viewer and data inside.

Names of runs, atoms and residues come from users' files. So every text goes through `html.escape` or is JSON in which
"<", ">" and "&" are written as escapes; nothing of it can become markup or a program. A content security policy forbids
the page every request.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

from tpsctl.output.report.data import ReportTable, ReportVerdict, RunReport

_WORDS = {
    "complete": "complete",
    "not_converged": "not converged",
    "not_saddle": "not a saddle",
    "not_valid": "not valid",
}
_NUMBER = re.compile(r"[-+<]?[\d.,]+(e[-+]?\d+)?( %|x)?|-")
"""A cell that holds one number, possibly with a percent sign or as a count like "6x", or none."""

_DIGITS = 5
"""Significant digits of the numbers in plots."""


def report_html(report: RunReport) -> str:
    """The page of a report as text, UTF-8."""
    parts = {
        "title": html.escape(report.name),
        "style": _asset("page.css"),
        "verdict": _verdict(report.verdict),
        "facts": "".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in report.facts
        ),
        "tables": "\n".join(_table(table) for table in report.tables),
        "data": _json(_data(report)),
        "viewer": _asset("3Dmol-min.js") if report.frames is not None else "",
        "licence": _licence() if report.frames is not None else "",
        "programs": "\n".join(_asset(name) for name in ("plot.js", "plots.js", "viewer.js", "page.js")),
    }
    # one pass: what is put in is not searched for further places
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return files("tpsctl.output.report").joinpath(name).read_text(encoding="utf-8")


def _licence() -> str:
    text = html.escape(_asset("3Dmol-LICENSE.txt"))
    return f"<details><summary>Licence of the viewer 3Dmol.js 2.5.5</summary><pre>{text}</pre></details>"


def _verdict(verdict: ReportVerdict) -> str:
    lists = (
        ("Why to believe it", verdict.reasons),
        ("What to doubt", verdict.doubts),
        ("What to do", verdict.remedies),
    )
    return (
        f'<section class="verdict {verdict.outcome}" aria-label="Verdict">'
        f'<p class="headline"><strong>{_WORDS[verdict.outcome]}</strong> {html.escape(verdict.headline)}</p>'
        f'<div class="columns">{"".join(_list(title, sentences) for title, sentences in lists if sentences)}</div>'
        "</section>"
    )


def _list(title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<div><h2>{title}</h2><ul>{items}</ul></div>"


def _table(table: ReportTable) -> str:
    kinds = [_kind([row[k] for row in table.rows]) for k in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "".join(
        f"<tr>{''.join(_cell(table, k, text, kinds[k]) for k, text in enumerate(row))}</tr>" for row in table.rows
    )
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    title = html.escape(table.title)
    return (
        f"<details{'' if table.closed else ' open'}><summary><h2>{title}</h2></summary>{note}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _cell(table: ReportTable, column: int, text: str, kind: str) -> str:
    shown = html.escape(text)
    if column == table.path_column:
        shown = f'<button type="button" class="path" data-path="{shown}" title="Show this path">{shown}</button>'
    return f"<td{kind}>{shown}</td>"


def _kind(cells: Sequence[str]) -> str:
    """Columns of numbers are right-aligned."""
    return ' class="number"' if cells and all(_NUMBER.fullmatch(text) for text in cells) else ""


def _data(report: RunReport) -> dict[str, Any]:
    """What the page's programs read."""
    return {
        "curves": [asdict(curve) for curve in report.curves],
        "distance_label": report.distance_label,
        "ceiling": report.ceiling,
        "panels": [asdict(panel) for panel in report.panels],
        "panels_note": report.panels_note,
        "action": None if report.action is None else asdict(report.action),
        "plane": None if report.plane is None else asdict(report.plane),
        "frames": None if report.frames is None else asdict(report.frames),
        "frames_note": report.frames_note,
    }


def _json(value: Any) -> str:
    text = json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _plain(value: Any) -> Any:
    """A value with lists for arrays, short numbers, and null for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value

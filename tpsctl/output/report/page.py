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

from tpsctl.output.report.data import ReportVerdict, RunReport
from tpsctl.output.report.parts import evidence_html, table_html

_WORDS = {
    "complete": "complete",
    "not_converged": "not converged",
    "not_saddle": "not a saddle",
    "not_valid": "not valid",
}
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
        "evidence": "\n".join(evidence_html(part) for part in report.evidence),
        "tables": "\n".join(table_html(table) for table in report.tables),
        "words": _words(report.words),
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


def _words(words: Sequence[tuple[str, str]]) -> str:
    if not words:
        return ""
    entries = "".join(f"<dt>{html.escape(word)}</dt><dd>{html.escape(meaning)}</dd>" for word, meaning in words)
    return f'<details><summary><h2>What the words mean</h2></summary><dl class="words">{entries}</dl></details>'


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


def _data(report: RunReport) -> dict[str, Any]:
    """What the page's programs read."""
    return {
        "curves": [asdict(curve) for curve in report.curves],
        "distance_label": report.distance_label,
        "ceiling": report.ceiling,
        "panels": [asdict(panel) for panel in report.panels],
        "panels_note": report.panels_note,
        "action": None if report.action is None else asdict(report.action),
        "planes": [asdict(plane) for plane in report.planes],
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

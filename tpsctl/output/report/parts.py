"""Tables, and sections on what dynamics says of the paths, as HTML. All text is escaped."""

import html
import re
from collections.abc import Sequence

from tpsctl.output.report.data import Evidence, ReportTable
from tpsctl.output.report.intervals import intervals_html

_NUMBER = re.compile(r"[-+<]?[\d.,]+(e[-+]?\d+)?( %|x)?|-")
"""A cell that holds one number, possibly with a percent sign or as a count like "6x", or none."""


def evidence_html(evidence: Evidence) -> str:
    """A section with its verdict first."""
    title = html.escape(evidence.title)
    tone = {True: "for", False: "against", None: "open"}[evidence.speaks_for]
    sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in evidence.sentences)
    charts = "".join(intervals_html(chart) for chart in evidence.charts)
    tables = "".join(table_html(table) for table in evidence.tables)
    return (
        f'<section class="card evidence {tone}" aria-label="{title}"><h2>{title}</h2>'
        f'<p class="says">{html.escape(evidence.verdict)}</p>'
        f'{sentences}<div class="charts">{charts}</div>{tables}</section>'
    )


def table_html(table: ReportTable) -> str:
    """A table that the reader can close."""
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

"""A chart of numbers with their intervals as HTML, without a program: bars are placed by fractions of the width.

Every line has its name and its number as text above the bar, so that nothing overlaps on a narrow screen, and nothing
is lost to those who do not see the bars. A line about an image is a button that shows this image.
"""

import html
import math

from tpsctl.output.report.data import IntervalChart, IntervalRow

_TICKS = 5


def intervals_html(chart: IntervalChart) -> str:
    """The chart as a part of a page."""
    rows = "".join(_row(chart, row) for row in chart.rows)
    note = f'<p class="note">{html.escape(chart.note)}</p>' if chart.note else ""
    return (
        f'<figure class="intervals"><figcaption>{html.escape(chart.title)}</figcaption>'
        f"{rows}{_axis(chart)}{note}</figure>"
    )


def _row(chart: IntervalChart, row: IntervalRow) -> str:
    name = html.escape(row.name)
    if row.image is not None:
        name = (
            f'<button type="button" class="path" data-path="{chart.path}" data-image="{row.image}" '
            f'title="Show this image">{name}</button>'
        )
    words = f'<div class="words"><span>{name}</span><span>{html.escape(row.text)}</span></div>'
    return f'<div class="interval {row.kind}">{words}{_bar(chart, row)}</div>'


def _bar(chart: IntervalChart, row: IntervalRow) -> str:
    parts = [f'<line class="grid" x1="{at}%" x2="{at}%" y1="0" y2="100%"/>' for at, _ in _places(chart)]
    if chart.band is not None:
        low, high = (_place(chart, value) for value in chart.band)
        parts.insert(0, f'<rect class="band" x="{low}%" width="{max(high - low, 0.6):.2f}%" y="0" height="100%"/>')
    if math.isfinite(row.value):
        if math.isfinite(row.low) and math.isfinite(row.high) and row.high > row.low:
            low, high = _place(chart, row.low), _place(chart, row.high)
            parts.append(f'<line class="bar" x1="{low}%" x2="{high}%" y1="8" y2="8"/>')
        parts.append(f'<circle class="dot" cx="{_place(chart, row.value)}%" cy="8" r="4.5"/>')
    return f'<svg aria-hidden="true" width="100%" height="16">{"".join(parts)}</svg>'


def _axis(chart: IntervalChart) -> str:
    labels = "".join(f'<text x="{at}%" y="12" text-anchor="middle">{value:g}</text>' for at, value in _places(chart))
    return f'<svg class="scale" aria-hidden="true" width="100%" height="16">{labels}</svg>'


def _place(chart: IntervalChart, value: float) -> float:
    """Place of a value, percent of the width, within the axis."""
    part = (value - chart.least) / max(chart.most - chart.least, 1e-12)
    return round(100 * min(max(part, 0.0), 1.0), 2)


def _places(chart: IntervalChart) -> list[tuple[float, float]]:
    """Place in percent and value of the round numbers on the axis."""
    rough = (chart.most - chart.least) / _TICKS
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-12)))
    step = next(k * power for k in (1, 2, 5, 10) if k * power >= 0.999 * rough)
    first, last = math.ceil(chart.least / step - 1e-9), math.floor(chart.most / step + 1e-9)
    return [(_place(chart, k * step), round(k * step, 12)) for k in range(first, last + 1)]

"""What a person sees: live bars on a terminal, timestamped lines elsewhere, tables at the end.

Progress goes to stderr, results to stdout. NO_COLOR is honored (by Rich).
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from tpsctl.progress import Progress, Update

LINE_EVERY_S = 10.0
"""Seconds between two lines of one task where there is no terminal."""


def make_progress() -> Progress:
    """Show bars if stderr is a terminal, plain lines otherwise."""
    console = Console(stderr=True, highlight=False)
    return BarProgress(console) if console.is_terminal else LineProgress()


class LineProgress(Progress):
    """Prints one timestamped, flushed line per fact, and one per task every `LINE_EVERY_S` seconds."""

    def say(self, text: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Update]:
        last = started = time.monotonic()
        self.say(f"{name} ...")
        latest, of = (0, ""), f"/{total}" if total else ""

        def update(done: int, text: str) -> None:
            nonlocal last, latest
            latest = (done, text)
            if time.monotonic() - last >= LINE_EVERY_S:
                last = time.monotonic()
                self.say(f"{name} {done}{of}  {text}".rstrip())

        yield update
        seconds = time.monotonic() - started
        self.say(f"{name} {latest[0]}{of}  {latest[1]}".rstrip() + f"  ({seconds:.1f} s)")


class BarProgress(Progress):
    """Draws live bars on a terminal; a finished task stays as one line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Update]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with Bars(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=total or None, text="")
            yield lambda done, text: bars.update(task, completed=done, text=text)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, notes: Sequence[str] = ()
) -> None:
    """Print a table on stdout: ruled on a terminal, aligned plain text otherwise; numbers stand to the right."""
    console = Console(highlight=False)
    if not console.is_terminal:
        _print_plain(title, columns, rows, notes)
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if _numeric(rows, i) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    for note in notes:
        console.print(Text(note), soft_wrap=True)


def _print_plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> None:
    right = [_numeric(rows, i) for i in range(len(columns))]
    cells = [[line.split("\n") for line in row] for row in (columns, *rows)]
    widths = [max(len(line) for row in cells for line in row[i]) for i in range(len(columns))]
    lines = [title]
    for row in cells:
        for k in range(max(len(cell) for cell in row)):
            parts = (cell[k] if k < len(cell) else "" for cell in row)
            texts = (p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True))
            lines.append("  ".join(texts).rstrip())
    print("\n".join([*lines, *notes]), flush=True)  # noqa: T201


def _numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [row[column] for row in rows if row[column] not in ("", "-")]
    return bool(cells) and all(cell.strip("+-−.,0123456789()°% e") == "" for cell in cells)

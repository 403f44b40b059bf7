"""What a person sees: plain lines without a terminal, aligned tables, JSON-safe streams."""

import io
import re

from rich.console import Console

from tpsctl import console
from tpsctl.console import BarProgress, LineProgress, print_table
from tpsctl.progress import Progress


def test_lines_have_a_time_and_go_to_stderr(capsys):
    LineProgress().say("ready")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ready\n", captured.err)


def test_a_task_is_announced_and_closed_with_its_last_state(capsys):
    with LineProgress().task("work", 3) as update:
        update(1, "a")
        update(3, "b")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("work ...")
    assert "work 3/3  b" in lines[1]


def test_a_task_of_unknown_length_counts_only(capsys):
    with LineProgress().task("rounds", 0) as update:
        update(43, "a")
    assert "rounds 43  a" in capsys.readouterr().err
    stream = io.StringIO()
    with BarProgress(Console(file=stream, force_terminal=True, width=100, no_color=True)).task("rounds", 0) as update:
        update(43, "a")
    assert "43/?" in stream.getvalue()


def test_a_long_task_reports_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    with LineProgress().task("work", 2) as update:
        update(1, "a")
        update(2, "b")
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_bars_end_with_the_last_state():
    stream = io.StringIO()
    progress = BarProgress(Console(file=stream, force_terminal=True, width=100, no_color=True))
    with progress.task("work", 2) as update:
        update(2, "S 1.5 [done]")
    assert "2/2" in stream.getvalue()
    assert "S 1.5 [done]" in stream.getvalue(), "brackets are text, not markup"


def test_silent_progress_is_silent(capsys):
    with Progress().task("work", 1) as update:
        update(1, "")
    assert capsys.readouterr() == ("", "")


def test_plain_tables_align_numbers_right_and_keep_every_line(capsys):
    print_table("title", ["name", "value\nunit"], [["a", "1.5"], ["long", "-20.25"], ["none", "-"]], notes=["note"])
    assert capsys.readouterr().out.splitlines() == [
        "title",
        "name   value",
        "        unit",
        "a        1.5",
        "long  -20.25",
        "none       -",
        "note",
    ]

"""The tutorial is true: its commands run one after another as they stand there, only with fewer attempts and shots."""

import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode

FEWER = {
    "sample": "--set path.paths=8 --set optimize.max_rounds=2 --threads 1",
    "shoot": "--least 2 --most 2 --longest-ps 1 --threads 1",
    "validate": "--threads 1",
}
"""What makes a command short enough for a test; it decides numbers, not what is written."""

MAY_SAY_NO = {"sample", "shoot", "validate"}
"""Commands whose verdict may be another one than on the page, because so little was done."""

TUTORIAL = "docs/getting_started.md"


class Shown(NamedTuple):
    """A command of the page, and the lines below it."""

    words: list[str]
    lines: list[str]


def commands_of(text):
    """The commands in the blocks of the page that show a console, in their order."""
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for command in block.split("$ ")[1:]:
            first, *lines = command.splitlines()
            yield Shown(shlex.split(first), lines)


def wordings(text):
    """Every line with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]


def files_of_a_run(text):
    """The files that the page lists; "saddles.csv, .dcd" are two."""
    block = re.search(r"^```\n(my-molecule/runs/my-molecule/)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for line in block[2].splitlines():
        first, *others = re.split(r"  +", line.strip())[0].split(", ")
        for name in (first, *others):
            yield block[1] + (first.rpartition(".")[0] + name if name.startswith(".") else name)


def answered(words, root):
    """What a command writes, and its exit code."""
    if words[0] == "python":
        environment = os.environ | {"PYTHONPATH": str(root)}
        command = [sys.executable, str(root / words[1]), *words[2:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr, done.returncode
    more = shlex.split(FEWER.get(words[1], ""))
    done = CliRunner().invoke(app, [*words[1:], *more], prog_name="tpsctl")
    return done.output, done.exit_code


@pytest.mark.slow  # a search, shots, energies and figures twice take 40 seconds of one core
def test_the_tutorial_from_its_first_command_to_its_last(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    shown = list(commands_of((root / TUTORIAL).read_text(encoding="utf-8")))
    assert {"prepare", "init", "check", "sample", "shoot", "report", "plot", "validate", "export"} <= {
        words[1] for words, _ in shown
    }
    for words, lines in shown:
        output, code = answered(words, root)
        allowed = {ExitCode.COMPLETE, ExitCode.NOT_VALID} if words[1] in MAY_SAY_NO else {ExitCode.COMPLETE}
        assert code in allowed, f"{shlex.join(words)}: exit code {code}\n{output}"
        found = wordings(output.replace(f"{tmp_path}/", ""))
        for line in wordings("\n".join(lines)):
            if line and "…" not in line and not re.search(r"\d", line):
                assert line in found, f"{shlex.join(words)}: no line {line!r} in\n{output}"
    missing = [name for name in files_of_a_run((root / TUTORIAL).read_text()) if not (tmp_path / name).exists()]
    assert not missing

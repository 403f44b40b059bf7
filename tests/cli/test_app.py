"""All commands: their help, the time it takes, and how errors become messages and exit codes."""

import subprocess
import sys
import time

import pytest

from tpsctl.cli.app import app
from tpsctl.errors import ExitCode, Interrupted, PriorError, RecipeError, exit_code_of

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == ExitCode.COMPLETE
    assert f"Example: tpsctl {command}" in result.output


def test_help_is_as_documented(golden, root, monkeypatch, invoke):
    monkeypatch.setenv("COLUMNS", "100")
    texts = [invoke("--help").output, *(invoke(command, "--help").output for command in COMMANDS)]
    golden(root / "tests" / "golden" / "help.txt", "\n".join(texts))


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from tpsctl.cli import app as cli; "
        "assert CliRunner().invoke(cli.app, ['sample', '--help']).exit_code == 0; "
        "heavy = 'torch numpy openmm mdtraj matplotlib rich scipy yaml'.split(); "
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tpsctl", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.5, "0.2 s alone on a machine; the margin is for a busy one"


def test_exit_codes_are_those_promised():
    """docs/slurm.md, examples/README.md and scripts of users name these numbers."""
    promised = {"COMPLETE": 0, "FAILED": 1, "USAGE": 2, "NOT_VALID": 3}
    promised |= {"RESUMABLE": 75, "INTERRUPTED": 130, "TERMINATED": 143}
    assert {code.name: code.value for code in ExitCode} == promised


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("x"), ExitCode.USAGE),
        (PriorError("x"), ExitCode.FAILED),
        (ZeroDivisionError("x"), ExitCode.FAILED),
        (Interrupted("x", ExitCode.RESUMABLE), ExitCode.RESUMABLE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (SystemExit(ExitCode.TERMINATED), ExitCode.TERMINATED),
        (SystemExit("words"), ExitCode.FAILED),
    ],
)
def test_every_error_has_one_exit_code(error, code):
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("r.yaml:3: seed: missing."), ExitCode.USAGE),
        (PriorError("prior.safetensors: truncated."), ExitCode.FAILED),
        (Interrupted("stopped.", ExitCode.RESUMABLE), ExitCode.RESUMABLE),
        (Interrupted("stopped.", ExitCode.TERMINATED), ExitCode.TERMINATED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_an_error_is_one_message_on_stderr_and_an_exit_code(invoke, fake_run, error, code):
    fake_run["error"] = error
    result = invoke("sample", "r.yaml")
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1] == (str(error) or "interrupted.")
    assert result.stdout == ""


def test_defects_keep_their_traceback(invoke, fake_run):
    fake_run["error"] = ZeroDivisionError("a defect")
    assert isinstance(invoke("sample", "r.yaml").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "words", [("nonsense",), ("sample",), ("sample", "r.yaml", "--threads", "0"), ("schema", "x"), ("status",)]
)
def test_wrong_usage_is_exit_2(invoke, words):
    assert invoke(*words).exit_code == ExitCode.USAGE


def test_version(invoke):
    assert invoke("--version").output.startswith("tpsctl ")

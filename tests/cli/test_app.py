"""The command line: help, exit codes, messages; the run layer is replaced, so flags and physics fail separately."""

import json
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli
from tpsctl.errors import PriorError, RecipeError

COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
runner = CliRunner()


def invoke(*arguments):
    return runner.invoke(cli.app, [str(a) for a in arguments], prog_name="tpsctl")


@pytest.fixture
def fake_run(monkeypatch):
    """Replace run_recipe; the fixture's value records how it was called and sets what it does."""
    from tpsctl.workflows.sample import run

    calls = {"outcome": "complete", "error": None}

    def fake_load(path, model, assignments):
        calls.update(assignments=assignments)
        return path

    def fake(recipe, settings, progress):
        calls.update(recipe=recipe, settings=settings)
        if calls["error"]:
            raise calls["error"]
        return {"outcome": calls["outcome"], "directory": "runs/x", "paths": [], "requested": 0}

    monkeypatch.setattr("tpsctl.recipe.loader.load_recipe", fake_load)
    monkeypatch.setattr(run, "run_recipe", fake)
    monkeypatch.setattr("tpsctl.cli.show.show", lambda manifest: None)
    return calls


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: tpsctl {command}" in result.output


def test_help_is_as_documented(golden, root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    texts = [invoke("--help").output, *(invoke(command, "--help").output for command in COMMANDS)]
    golden(root / "tests" / "golden" / "help.txt", "\n".join(texts))


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from tpsctl.cli import app as cli; "
        "assert CliRunner().invoke(cli.app, ['sample', '--help']).exit_code == 0; "
        "print([m for m in ('torch', 'numpy', 'openmm', 'mdtraj', 'matplotlib', 'rich', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tpsctl", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.5, "0.2 s alone on a machine; the margin is for a busy one"


@pytest.mark.parametrize(
    ("outcome", "error", "code"),
    [
        ("complete", None, 0),
        ("not_converged", None, 3),
        ("not_valid", None, 3),
        ("complete", RecipeError("r.yaml:3: seed: missing."), 2),
        ("complete", PriorError("prior.safetensors: truncated."), 1),
        ("complete", KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_of_sample(fake_run, outcome, error, code):
    fake_run.update(outcome=outcome, error=error)
    result = invoke("sample", "r.yaml")
    assert result.exit_code == code
    if error and str(error):
        assert result.stderr.splitlines()[-1] == str(error)
        assert result.stdout == ""


def test_defects_keep_their_traceback(fake_run):
    fake_run["error"] = ZeroDivisionError("a defect")
    assert isinstance(invoke("sample", "r.yaml").exception, ZeroDivisionError)


def test_options_of_sample_reach_the_run(fake_run):
    result = invoke("sample", "r.yaml", "--set", "a.b=1", "--set", "c=2", "--out", "d", "--overwrite", "--threads", 3)
    assert result.exit_code == 0
    settings = fake_run["settings"]
    assert fake_run["assignments"] == ["a.b=1", "c=2"]
    assert (str(settings.out), settings.overwrite, settings.device, settings.threads) == ("d", True, "auto", 3)


def test_json_is_alone_on_stdout(fake_run):
    result = invoke("sample", "r.yaml", "--json")
    assert json.loads(result.stdout)["outcome"] == "complete"


def test_a_mistake_in_the_recipe_shows_before_torch_is_loaded(tmp_path):
    (tmp_path / "r.yaml").write_text("version: 1\n")
    code = (
        "import sys; from typer.testing import CliRunner; from tpsctl.cli import app as cli; "
        f"result = CliRunner().invoke(cli.app, ['sample', {str(tmp_path / 'r.yaml')!r}]); "
        "assert result.exit_code == 2, result.output; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("sample",), ("sample", "r.yaml", "--threads", "0"), ("schema", "x")]
)
def test_wrong_usage_is_exit_2(arguments):
    assert invoke(*arguments).exit_code == 2


def test_version():
    assert invoke("--version").output.startswith("tpsctl ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell):
    assert "_TPSCTL_COMPLETE" in invoke("completion", shell).output


def test_completion_answers_the_shell():
    environment = {"_TPSCTL_COMPLETE": "complete_bash", "COMP_WORDS": "tpsctl sam", "COMP_CWORD": "1", "PATH": "/bin"}
    command = [sys.executable, "-m", "tpsctl"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["sample"]


def test_doctor_as_json():
    found = json.loads(invoke("doctor", "--json").stdout)
    assert {"versions", "torch_devices", "openmm_platforms", "problems"} <= set(found)
    assert found["attention"].startswith(("compiled (", "by torch (reinstalled with a C compiler"))

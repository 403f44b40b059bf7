"""`sample`, `check` and `gather`: options, exit codes and JSON, with the workflows replaced."""

import json
import subprocess
import sys

import pytest

from tpsctl.errors import ExitCode


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("complete", ExitCode.COMPLETE),
        ("not_converged", ExitCode.NOT_VALID),
        ("not_valid", ExitCode.NOT_VALID),
    ],
)
def test_exit_codes_of_sample(invoke, fake_run, outcome, code):
    fake_run["outcome"] = outcome
    assert invoke("sample", "r.yaml").exit_code == code


def test_options_of_sample_reach_the_run(invoke, fake_run):
    words = ("--set", "a.b=1", "--set", "c=2", "--out", "d", "--overwrite", "--threads", 3)
    words += ("--shard", "2/3", "--maxh", 1)
    assert invoke("sample", "r.yaml", *words).exit_code == ExitCode.COMPLETE
    settings = fake_run["settings"]
    assert fake_run["assignments"] == ["a.b=1", "c=2"]
    assert (str(settings.out), settings.overwrite, settings.device, settings.threads) == ("d", True, "auto", 3)
    assert (str(settings.shard), settings.max_hours) == ("2/3", 1.0)
    assert settings.origin == ("r.yaml", "--set", "a.b=1", "--set", "c=2", "--threads", "3", "--maxh", "1.0")


def test_json_is_alone_on_stdout(invoke, fake_run):
    result = invoke("sample", "r.yaml", "--json")
    assert json.loads(result.stdout)["outcome"] == "complete"
    assert "a library talks" in result.stderr


def test_a_mistake_in_the_recipe_shows_before_torch_is_loaded(tmp_path):
    (tmp_path / "r.yaml").write_text("version: 1\n")
    code = (
        "import sys; from typer.testing import CliRunner; from tpsctl.cli import app as cli; "
        f"result = CliRunner().invoke(cli.app, ['sample', {str(tmp_path / 'r.yaml')!r}]); "
        "assert result.exit_code == 2, result.output; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("verdict", "code"), [("ok", ExitCode.COMPLETE), ("FAIL", ExitCode.FAILED)])
def test_exit_codes_of_check(invoke, fake_run, monkeypatch, verdict, code):
    from tpsctl.workflows.sample import check
    from tpsctl.workflows.sample.check import Finding, Report

    report = Report("r", [Finding("files", verdict, "found")])
    monkeypatch.setattr(check, "check_recipe", lambda recipe, settings, progress: report)
    assert invoke("check", "r.yaml").exit_code == code
    assert json.loads(invoke("check", "r.yaml", "--json").stdout) == report.as_json()


@pytest.mark.parametrize(("outcome", "code"), [("complete", ExitCode.COMPLETE), ("not_valid", ExitCode.NOT_VALID)])
def test_exit_codes_of_gather(invoke, fake_run, monkeypatch, tmp_path, outcome, code):
    from tpsctl.workflows.sample import gather

    def fake(directory, progress, *, scratch):
        return {"outcome": outcome, "directory": str(directory), "paths": []}

    monkeypatch.setattr(gather, "gather", fake)
    result = invoke("gather", tmp_path, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["directory"] == str(tmp_path)


def test_gather_without_a_run_is_wrong_usage(invoke, tmp_path):
    result = invoke("gather", tmp_path)
    assert result.exit_code in (ExitCode.USAGE, ExitCode.FAILED)
    assert str(tmp_path) in result.stderr

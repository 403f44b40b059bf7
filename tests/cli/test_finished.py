"""The commands for finished runs: exit codes, tables and JSON."""

import json
import shutil

import pytest

from tpsctl.errors import ExitCode


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def test_validate_prints_a_table_or_json(invoke, run):
    words = ("validate", run, "--set", "validation.energy.minimize=false")
    table = invoke(*words)
    assert table.exit_code == ExitCode.COMPLETE
    assert table.stdout.splitlines()[0] == "small on amber99sbildn: barriers in kJ/mol"
    assert "outcome: complete" in table.stdout
    answer = invoke(*words, "--name", "again", "--json")
    assert json.loads(answer.stdout)["valid"] == 2
    refused = invoke(*words)
    assert refused.exit_code == ExitCode.FAILED
    assert "exists already; nothing was changed" in refused.stderr


def test_validate_says_that_a_top_is_no_saddle(invoke, run):
    saddle = "validation.saddle=true"
    result = invoke("validate", run, "--set", "validation.energy.minimize=false", "--set", saddle)
    assert result.exit_code == ExitCode.NOT_VALID
    assert "outcome: NOT A SADDLE" in result.stdout


def test_diff_of_equal_and_of_different_runs(invoke, finished_run, run):
    same = invoke("diff", finished_run, run)
    assert same.exit_code == ExitCode.COMPLETE
    assert same.stdout.splitlines()[0] == "0 differences"
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["recipe"]["seed"] = 99
    (run / "manifest.json").write_text(json.dumps(manifest))
    other = invoke("diff", finished_run, run, "--json")
    assert other.exit_code == ExitCode.NOT_VALID
    answer = json.loads(other.stdout)
    assert answer["equal_parts"] == {"recipe": False, "inputs": True, "versions": True, "results": True}
    assert answer["differences"] == [{"part": "recipe", "key": "seed", "first": 1, "second": 99}]


def test_export_lists_what_it_wrote(invoke, finished_run, tmp_path):
    formats = ("--format", "xtc", "--format", "pdb")
    words = ("export", finished_run, *formats, "--path", 1, "--out", tmp_path / "out", "--json")
    answer = json.loads(invoke(*words).stdout)
    assert answer["files"] == ["README.md", "pdb/path_0001.pdb", "xtc/path_0001.xtc", "xtc/topology.pdb"]
    assert all((tmp_path / "out" / file).is_file() for file in answer["files"])
    assert answer["temperature_k"] == 300
    again = invoke(*words)
    assert again.exit_code == ExitCode.FAILED
    assert "exists already; nothing was changed. Choose another with --out." in again.stderr

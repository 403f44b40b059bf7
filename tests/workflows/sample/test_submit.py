"""Submitting: what is checked before, what is asked of Slurm, what is refused. Slurm's commands are replaced."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli
from tpsctl.jobs.slurm import client
from tpsctl.jobs.slurm.client import SlurmError, Task
from tpsctl.workflows.sample import submit
from tpsctl.workflows.sample.check import Estimate, Finding, Report

DOUBLE_WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 8, images: 12, batch_paths: 2, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.01, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, figures: false}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "well.yaml"
    path.write_text(DOUBLE_WELL)
    return path


@pytest.fixture
def checked(monkeypatch):
    """Replaces the check; holds the report it gives and whether a trial was wanted."""
    state = {"report": Report("well", estimate=Estimate(3600.0, 1.1e9, 4e8)), "trial": None}

    def check_recipe(recipe, settings, *, trial):
        state["trial"] = trial
        return state["report"]

    monkeypatch.setattr(submit, "check_recipe", check_recipe)
    return state


@pytest.fixture
def slurm(monkeypatch):
    """A Slurm that takes everything; holds what it was told."""
    state = {"submitted": [], "cancelled": [], "tasks": [], "refuse": ""}

    def take(script: Path, *, after=None):
        if state["refuse"] == script.name:
            raise SlurmError("sbatch refused: no.")
        state["submitted"].append((script, after))
        return str(10 + len(state["submitted"]))

    monkeypatch.setattr(client, "installed", lambda: True)
    monkeypatch.setattr(client, "submit", take)
    monkeypatch.setattr(client, "cancel", state["cancelled"].append)
    monkeypatch.setattr(client, "tasks_of", lambda scripts, user: state["tasks"])
    monkeypatch.setattr(client, "largest_array_index", lambda: 1000)
    return state


def invoke(recipe, *arguments):
    return CliRunner().invoke(cli.app, ["submit", str(recipe), *map(str, arguments)])


def directives(path):
    return {line.split()[1] for line in path.read_text().splitlines() if line.startswith("#SBATCH")}


def test_both_jobs_are_submitted_and_the_gather_job_waits_for_the_array(recipe, checked, slurm, tmp_path):
    result = invoke(recipe, "--shards", 4, "--json")
    folder = tmp_path / "out" / "slurm"
    assert slurm["submitted"] == [(folder / "array.sbatch", None), (folder / "gather.sbatch", "11")]
    facts = json.loads(result.stdout)
    assert (facts["array_job"], facts["gather_job"], facts["shards"], facts["paths_per_shard"]) == ("11", "12", 4, 2)


def test_time_and_memory_come_from_the_trial_and_are_printed(recipe, checked, slurm, tmp_path):
    result = invoke(recipe, "--shards", 4)
    assert checked["trial"]
    asked = directives(tmp_path / "out" / "slurm" / "array.sbatch")
    assert {"--time=02:24:00", "--mem=3G"} <= asked, "1.2 x 2 paths x 1 h; 1.5 x (1.1 + 2 x 0.4) GB"
    assert "--time 02:24:00" in result.stderr
    assert "--mem 3G" in result.stderr


def test_a_long_run_asks_for_a_day_and_goes_on_by_requeues(recipe, checked, slurm, tmp_path):
    checked["report"].estimate = Estimate(40 * 3600.0, 1e9, 0.0)
    result = invoke(recipe, "--requeues", 5)
    assert "--time=1-00:00:00" in directives(tmp_path / "out" / "slurm" / "array.sbatch")
    assert "--requeues to 14" in result.stderr


def test_nothing_is_computed_when_time_and_memory_are_given(recipe, checked, slurm, tmp_path):
    checked["report"].estimate = None
    invoke(recipe, "--shards", 2, "--time", "30", "--mem-per-cpu=2G")
    assert not checked["trial"]
    assert {"--time=30", "--mem-per-cpu=2G"} <= directives(tmp_path / "out" / "slurm" / "array.sbatch")


def test_a_failed_check_stops_before_anything_is_written(recipe, checked, slurm, tmp_path):
    checked["report"] = Report("well", [Finding("energies", "FAIL", "no template for residue XYZ")])
    result = invoke(recipe)
    assert result.exit_code == 1
    assert "no template for residue XYZ" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_both_scripts_and_touches_nothing(recipe, checked, monkeypatch, tmp_path):
    monkeypatch.setattr("subprocess.run", lambda command, **_: pytest.fail(f"called {command}"))
    result = invoke(recipe, "--shards", 4, "--dry-run", "--setup", "module load cuda", "--", "--gres=gpu:1")
    assert result.exit_code == 0
    assert result.stdout.count("#!/bin/bash") == 2
    assert "#SBATCH --gres=gpu:1\n" in result.stdout
    assert "\nmodule load cuda\n" in result.stdout
    assert not (tmp_path / "out").exists()


def test_there_are_no_more_shards_than_batches(recipe, checked, slurm):
    result = invoke(recipe, "--shards", 64, "--json")
    assert json.loads(result.stdout)["shards"] == 4
    assert "8 paths in batches of 2 make 4 batches: 4 shards instead of 64" in result.stderr


def test_on_gpus_every_shard_gets_a_share_of_the_paths(root, checked, slurm, tmp_path):
    recipe = root / "recipes" / "alanine_dipeptide.yaml"
    result = invoke(recipe, "--shards", 4, "--json", "--gres", "gpu:1", "--out", tmp_path / "out")
    facts = json.loads(result.stdout)
    assert (facts["shards"], facts["paths_per_shard"]) == (4, 4), "16 paths; batches of 32 had made it one shard"


@pytest.mark.parametrize(
    "words", [("--gres=gpu:2",), ("--gres", "gpu:a100:2"), ("--gpus-per-task=2",), ("-G", "a100:2", "--gres=gpu:1")]
)
def test_gpus_that_would_idle_are_refused_with_the_shards_to_give(root, checked, slurm, tmp_path, words):
    recipe = root / "recipes" / "alanine_dipeptide.yaml"
    result = invoke(recipe, "--shards", 4, "--out", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert "2 GPUs for each shard" in result.stderr
    assert "--shards 8" in result.stderr
    assert not slurm["submitted"]


def test_a_model_potential_has_the_batches_of_a_cpu_on_a_gpu_node_too(recipe, checked, slurm):
    result = invoke(recipe, "--shards", 3, "--json", "--gres", "gpu:1", "--set", "path.batch_paths=null")
    assert json.loads(result.stdout)["paths_per_shard"] == 4  # 4 batches of 2 in 3 shards


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--array=1-9",), "sets --array itself"),
        (("--time", "tomorrow"), "expected a time as Slurm reads it"),
        (("--cpus-per-task", "many"), "expected a whole number above 0"),
        (("--shards", 0), "--shards"),
    ],
)
def test_what_the_run_depends_on_cannot_be_changed(recipe, checked, slurm, arguments, message):
    result = invoke(recipe, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_jobs_of_the_same_run_that_are_still_there_are_named(recipe, checked, slurm, tmp_path):
    slurm["tasks"] = [Task(7, 1, "RUNNING", "", "n", ""), Task(5, 1, "FAILED", "", "n", "")]
    result = invoke(recipe, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "scancel 7" in result.stderr
    assert not slurm["submitted"]


def test_more_shards_than_the_cluster_allows_are_refused(recipe, checked, slurm, monkeypatch):
    monkeypatch.setattr(client, "largest_array_index", lambda: 2)
    result = invoke(recipe, "--shards", 4)
    assert result.exit_code == 2
    assert "MaxArraySize" in result.stderr


def test_an_array_whose_gather_job_is_refused_is_cancelled(recipe, checked, slurm):
    slurm["refuse"] = "gather.sbatch"
    result = invoke(recipe)
    assert result.exit_code == 1
    assert slurm["cancelled"] == ["11"]


def test_without_slurm_nothing_is_checked_and_the_way_out_is_named(recipe, checked, monkeypatch):
    monkeypatch.setenv("PATH", "")
    result = invoke(recipe)
    assert result.exit_code == 1
    assert "Go to its login node, or use --dry-run." in result.stderr
    assert checked["trial"] is None

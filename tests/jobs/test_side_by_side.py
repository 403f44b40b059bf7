"""Several processes for one run: the same files as one process, and nothing lost or left behind when it is stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tpsctl.errors import OutputError, RecipeError
from tpsctl.jobs.plan import read_plan
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.side_by_side import Process, run_side_by_side
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.workflows.sample.hardware import processes
from tpsctl.workflows.sample.planning import make_plan
from tpsctl.workflows.sample.settings import RunSettings
from tpsctl.workflows.sample.tools import Tools

TWO_PATHS = [
    "path.paths=2",
    "path.images=12",
    "path.batch_paths=1",
    "optimize={method: levenberg_marquardt, max_steps: 40}",
    "output.figures=false",
]


@pytest.fixture
def command(root, tmp_path):
    """The words of a run of the embedded recipe, small, into a folder."""

    def words(out, *more):
        changes = [word for change in TWO_PATHS for word in ("--set", change)]
        recipe = str(root / "recipes/alanine_dipeptide.yaml")
        return [sys.executable, "-m", "tpsctl", "sample", recipe, *changes, "--out", str(tmp_path / out), *more]

    return words


def content(folder):
    """All files but what says when and where."""
    files = {p.relative_to(folder): p.read_bytes() for p in sorted((folder / "paths").iterdir())}
    rows = list(csv.DictReader((folder / "paths.csv").open()))
    table = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return (
        files,
        table,
        (folder / "images.csv").read_text(),
        json.loads((folder / "manifest.json").read_text())["paths"],
    )


def working(folder):
    """Processes that work into this folder."""
    found = subprocess.run(["pgrep", "-f", f"--out {folder} "], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def until(condition, longest_s=120):
    end = time.monotonic() + longest_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGKILL], ids=lambda n: n.name)
def test_two_processes_give_the_files_of_one_even_when_stopped(command, tmp_path, number):
    """Slow: real processes, each of which imports everything."""
    assert subprocess.run(command("one", "--threads", "1"), check=False).returncode in (0, 3)
    running = subprocess.Popen(command("two", "--threads", "2", "--save-every", "0"))
    shards = tmp_path / "two" / "state" / "shards"
    until(lambda: list(shards.glob("*/running-*")))  # a snapshot: the optimizer is under way
    os.kill(running.pid, number)
    assert running.wait() == {signal.SIGINT: 130, signal.SIGUSR1: 75, signal.SIGKILL: -9}[number]
    until(lambda: not working(tmp_path / "two"))
    assert read_plan(tmp_path / "two") is not None
    assert subprocess.run(command("two", "--threads", "2", "--resume"), check=False).returncode in (0, 3)
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert read_plan(tmp_path / "two") is None


@pytest.fixture
def plan(root, tmp_path):
    """Of two batches, whose processes do as they are told by `origin`."""

    def planned(*origin):
        recipe = load_recipe(root / "recipes/alanine_dipeptide.yaml", SampleRecipe, TWO_PATHS)
        settings = RunSettings(out=tmp_path / "run", origin=origin)
        return recipe, settings, make_plan(recipe, settings, torch.device("cpu"))

    return planned


def test_what_a_process_says_before_it_fails_is_told(plan):
    _, _, planned = plan("missing.yaml")
    with pytest.raises(RecipeError, match=r"(?s)process ./2 failed \(exit code 2\):.*missing\.yaml"):
        run_side_by_side(planned, [Process(("--threads", "1"))] * 2, Progress())


def test_there_are_as_many_processes_as_threads_batches_or_gpus_and_they_share_the_threads(plan, monkeypatch):
    recipe, settings, planned = plan("recipe.yaml")
    one = Process(("--threads", "1", "--save-every", "300.0"))
    assert processes(planned, Tools(recipe, torch.device("cpu"), threads=1), settings) == [one]
    assert processes(planned, Tools(recipe, torch.device("cpu"), threads=16), settings) == [one, one]
    in_shard = RunSettings(out=settings.out, origin=settings.origin, shard=Shard(1, 2))
    assert processes(planned, Tools(recipe, torch.device("cpu"), threads=16), in_shard) == [Process()]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    gpus = processes(planned, Tools(recipe, torch.device("cuda"), threads=16), settings)
    assert [gpu.environment for gpu in gpus] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert {tuple(gpu.options) for gpu in gpus} == {("--device", "cuda", "--threads", "8", "--save-every", "300.0")}


def test_a_process_gets_its_environment(plan, monkeypatch, tmp_path):
    _, _, planned = plan("recipe.yaml")
    told = tmp_path / "told"
    told.write_text('#!/bin/sh\necho "sees $CUDA_VISIBLE_DEVICES"; exit 1\n')
    told.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(told))
    with pytest.raises(OutputError, match="sees 3"):
        run_side_by_side(planned, [Process((), {"CUDA_VISIBLE_DEVICES": "3"})], Progress())


def test_a_failed_process_ends_the_run(plan, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    _, _, planned = plan("recipe.yaml")
    with pytest.raises(OutputError, match=r"process ./2 failed \(exit code 1\)"):
        run_side_by_side(planned, [Process(("--threads", "1"))] * 2, Progress())

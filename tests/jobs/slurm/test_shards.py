"""Shards on a real Slurm: submitted, interrupted, requeued, cancelled, failed; the result is always the unbroken run's.

The jobs are small: paths on the Mueller-Brown surface, some thousand steps of some milliseconds.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = """\
version: 1
name: brown
seed: 3
endpoints: {start: {position_nm: [23, 30]}, end: {position_nm: [40, 9]}}
prior: {kind: mueller_brown, temperature_k: 2.405454}
path: {paths: 4, images: 50, batch_paths: 1, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.1, diffusion_nm2_per_ps: 0.2}
optimize: {method: adam, max_steps: 100000, learning_rate_nm: 0.1}
output: {directory: out, figures: false, trajectories: [dcd]}
"""

SLOW = ("--set", "optimize.learning_rate_nm=0.003")
"""At least five seconds a path, also on an idle machine: time to be interrupted."""

LIMITS = ("--time", "10", "--mem", "100M")  # the pretended node has 4 GB in all


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run 1"


@pytest.fixture
def submit(slurm, tmp_path, out):
    """Submits the recipe; returns what `tpsctl submit --json` answered."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)

    def start(*arguments):
        done = slurm.tpsctl("submit", recipe, "--out", out, "--json", *LIMITS, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return start


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The files of the same run in one piece, without a cluster; each made once."""
    made: dict[tuple[str, ...], dict[str, object]] = {}

    def run(*arguments):
        if arguments not in made:
            folder = tmp_path_factory.mktemp("unbroken")
            (folder / "recipe.yaml").write_text(RECIPE)
            command = [sys.executable, "-m", "tpsctl", "sample", "recipe.yaml", "--threads", "1", *arguments]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            made[arguments] = result(folder / "out")
        return made[arguments]

    return run


def result(place: Path) -> dict[str, object]:
    """What of a run directory must not depend on how the run was divided and broken: all but times and places."""
    files: dict[str, object] = {f"paths/{file.name}": file.read_bytes() for file in (place / "paths").iterdir()}
    files["images.csv"] = (place / "images.csv").read_text()
    header, *rows = [line.split(",") for line in (place / "paths.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(header) if "seconds" not in name]
    files["paths.csv"] = [[row[i] for i in kept] for row in rows]
    manifest = json.loads((place / "manifest.json").read_text())
    return files | {name: manifest[name] for name in ("digest", "outcome", "requested", "valid")}


def status_of(out, shard, of):
    file = out / "state" / "shards" / f"{shard:04}_of_{of:04}" / "status.json"
    return json.loads(file.read_text()) if file.exists() else {}


def wait_until(condition, what, seconds=600):
    """The first true value of `condition()`; patient, as other programs may use the same cores."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def wait_for_step(out, shard, of):
    """Until a shard is in the middle of an optimization."""
    wait_until(lambda: status_of(out, shard, of).get("step", 0) > 0, f"a step of shard {shard}")


def wait_for_stop(out, shard, of):
    """Until a shard has saved and stopped; its status."""
    stopped = wait_until(lambda: s if (s := status_of(out, shard, of))["state"] != "running" else None, "its end")
    assert stopped["state"] == "stopped"
    return stopped


def logs(out):
    return "\n".join(f"{log.name}: {log.read_text()}" for log in sorted((out / "slurm").glob("*.log")))


def test_an_array_of_four_shards_is_gathered_to_a_complete_run(slurm, submit, out, unbroken):
    jobs = submit("--shards", 4)
    assert slurm.wait_for(jobs["gather_job"], "COMPLETED"), logs(out)
    assert slurm.tpsctl("status", out).returncode == 0
    assert not (out / "state").exists()
    assert len(list((out / "slurm").glob("shard_000?.log"))) == 4
    assert result(out) == unbroken()
    again = slurm.tpsctl("sample", out.parent / "recipe.yaml", "--out", out)
    assert "nothing to do" in again.stderr


def test_usr1_saves_requeues_and_ends_as_the_unbroken_run(slurm, submit, out, unbroken):
    jobs = submit("--shards", 4, *SLOW)
    wait_for_step(out, 2, 4)
    task = f"{jobs['array_job']}_2"
    slurm.run("scancel", "--batch", "--signal=USR1", task)
    assert wait_for_stop(out, 2, 4)["exit_code"] == 75
    shown = slurm.tpsctl("status", out)
    assert shown.returncode == 75
    assert re.search(r"2/4 +(waiting|running) .* starting again", shown.stdout), shown.stdout
    assert slurm.wait_for(jobs["gather_job"], "COMPLETED"), logs(out)
    log = (out / "slurm" / "shard_0002.log").read_text()
    assert f"job {task} on" in log
    assert "restart 0" in log
    assert "restart 1" in log, "appended, not truncated"
    assert (out / "slurm" / f"requeues_{task}").read_text() == "1\n"
    assert result(out) == unbroken(*SLOW)


def test_a_cancelled_shard_stays_cancelled_and_goes_on_when_submitted_again(slurm, submit, out, unbroken):
    jobs = submit("--shards", 2, *SLOW)
    wait_for_step(out, 1, 2)
    slurm.run("scancel", f"{jobs['array_job']}_1")
    assert wait_for_stop(out, 1, 2)["exit_code"] == 143
    slurm.wait_for(jobs["gather_job"], "CANCELLED")
    assert slurm.states(jobs["array_job"]) == {"1": "CANCELLED", "2": "COMPLETED"}
    assert not list((out / "slurm").glob("requeues_*"))
    shown = slurm.tpsctl("status", out, "--json")
    assert shown.returncode == 75
    overview = json.loads(shown.stdout)
    assert [shard["state"] for shard in overview["shards"]] == ["stopped", "complete"]
    again = subprocess.run(["bash", "-c", *overview["resume"]], env=slurm.environment, capture_output=True, text=True)
    assert slurm.wait_for(again.stdout.split()[-1], "COMPLETED"), logs(out)
    assert result(out) == unbroken(*SLOW)


def test_a_failing_shard_keeps_gather_from_running_and_is_named(slurm, submit, out):
    fill = 'if [ "$SLURM_ARRAY_TASK_ID" = 3 ]; then ulimit -f 6; fi'  # no file above 6 KiB: like a full disk
    jobs = submit("--shards", 4, "--setup", fill)
    slurm.wait_for(jobs["gather_job"], "CANCELLED")
    assert slurm.states(jobs["array_job"]) == {"1": "COMPLETED", "2": "COMPLETED", "3": "FAILED", "4": "COMPLETED"}
    assert not (out / "manifest.json").exists()
    shown = slurm.tpsctl("status", out)
    assert shown.returncode == 1
    assert re.search(r"3/4 +failed .*cannot be written", shown.stdout), shown.stdout
    assert "failed: shard 3; see" in shown.stdout
    script = out / "slurm" / "array.sbatch"
    script.write_text(script.read_text().replace(fill, ""))
    command = shown.stdout.splitlines()[-1]
    again = subprocess.run(["bash", "-c", command], env=slurm.environment, capture_output=True, text=True)
    assert slurm.wait_for(again.stdout.split()[-1], "COMPLETED"), again.stderr + logs(out)
    assert slurm.tpsctl("status", out).returncode == 0


def test_a_wrong_recipe_is_not_tried_again(slurm, submit, out):
    jobs = submit("--shards", 2, "--comment=spoiled below", "--setup", "set -- spoiled")
    slurm.run("scancel", jobs["array_job"], jobs["gather_job"])
    slurm.clear()
    script = out / "slurm" / "array.sbatch"
    script.write_text(script.read_text().replace("changes=()", "changes=(--set path.imagse=9)"))
    job = slurm.query("sbatch", "--parsable", script)
    assert slurm.wait_for(job, "FAILED") == {"1": "FAILED", "2": "FAILED"}
    assert slurm.show(f"{job}_1")["ExitCode"] == "2:0"
    assert slurm.show(f"{job}_1")["Restarts"] == "0"
    assert "path.imagse: unknown key" in (out / "slurm" / "shard_0001.log").read_text()


def test_requeues_are_bounded(slurm, submit, out):
    jobs = submit("--shards", 1, "--requeues", 1, *SLOW)
    before = None
    for _ in range(2):
        wait_until(lambda old=before: status_of(out, 1, 1).get("started") != old, "a new start")
        wait_for_step(out, 1, 1)
        slurm.run("scancel", "--batch", "--signal=USR1", f"{jobs['array_job']}_1")
        before = wait_for_stop(out, 1, 1)["started"]
    assert slurm.wait_for(jobs["array_job"], "FAILED") == {"1": "FAILED"}
    slurm.wait_for(jobs["gather_job"], "CANCELLED")
    assert "not requeued" in (out / "slurm" / "shard_0001.log").read_text()
    assert slurm.tpsctl("status", out).returncode == 75


@pytest.mark.campaign
@pytest.mark.slow  # Slurm holds back what it requeues
def test_a_shard_that_slurm_itself_requeues_goes_on(slurm, submit, out, unbroken):
    jobs = submit("--shards", 1, *SLOW)
    wait_for_step(out, 1, 1)
    slurm.run("scontrol", "requeue", f"{jobs['array_job']}_1")  # as after the failure of its node
    assert slurm.wait_for(jobs["gather_job"], "COMPLETED"), logs(out)
    assert "restart 1" in (out / "slurm" / "shard_0001.log").read_text()
    assert not list((out / "slurm").glob("requeues_*")), "not counted: the bound is for its own requeues"
    assert result(out) == unbroken(*SLOW)


def test_jobs_of_the_same_run_are_not_submitted_twice(slurm, submit, out, tmp_path):
    jobs = submit("--shards", 2, *SLOW)
    again = slurm.tpsctl("submit", tmp_path / "recipe.yaml", "--out", out, *LIMITS, "--shards", 2, *SLOW)
    assert again.returncode == 2
    assert f"scancel {jobs['array_job']} {jobs['gather_job']}" in again.stderr


def test_status_needs_no_slurm(slurm, submit, out):
    jobs = submit("--shards", 2, *SLOW)
    wait_for_step(out, 1, 2)
    wait_for_step(out, 2, 2)
    environment = slurm.environment | {"PATH": "/nowhere"}
    command = [sys.executable, "-m", "tpsctl", "status", str(out)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 75
    assert len(re.findall(r"[12]/2 +running", shown.stdout)) == 2
    assert jobs["array_job"] in shown.stdout


@pytest.mark.campaign
@pytest.mark.slow  # a minute of waiting for the limit, and some for the requeue
def test_a_time_limit_is_survived(slurm, submit, out, unbroken):
    settings = {"optimize.learning_rate_nm": 0.00015, "optimize.max_steps": 1000000, "path.paths": 1}
    settings["optimize.gradient_tolerance_per_nm"] = 0.3
    slower = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]  # over a minute
    jobs = submit("--shards", 1, "--time", "1", "--signal=B:USR1@15", *slower)
    assert slurm.wait_for(jobs["gather_job"], "COMPLETED"), logs(out)
    assert "restart 1" in (out / "slurm" / "shard_0001.log").read_text()
    assert result(out) == unbroken(*slower)


@pytest.mark.campaign
@pytest.mark.slow  # the grace time of the partition, and the requeue
def test_preemption_is_survived(slurm, submit, out, unbroken):
    jobs = submit("--shards", 2, "--partition", "preempt", *SLOW)
    wait_for_step(out, 1, 2)
    wait_for_step(out, 2, 2)
    other = slurm.query("sbatch", "--parsable", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    slurm.wait_for(other, "COMPLETED")
    assert slurm.wait_for(jobs["gather_job"], "COMPLETED"), logs(out)
    assert "restart 1" in (out / "slurm" / "shard_0001.log").read_text()
    assert result(out) == unbroken(*SLOW)

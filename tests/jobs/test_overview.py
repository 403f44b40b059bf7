"""The status of a run from hand-made status files, with and without Slurm's word; Slurm itself is replaced."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli
from tpsctl.errors import RecipeError
from tpsctl.jobs.overview import look
from tpsctl.jobs.plan import Plan
from tpsctl.jobs.slurm import client
from tpsctl.jobs.slurm.client import SlurmError, Task


def record(shard, state, *, of=4, seconds_ago=1.0, **changes):
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    values = {
        "shard": shard, "of": of, "state": state, "exit_code": None,
        "batches": [shard - 1, shard + 3], "batches_done": 1,
        "paths": 8, "paths_done": 4, "stage": "1. lbfgs", "step": 12, "action_total": [13.0, 15.0], "message": "",
        "host": "node7", "pid": 1, "started": moment.isoformat(), "updated": moment.isoformat(),
        "slurm": {"job": "14", "array_job": "12", "array_task": str(shard), "restart": "0"}, "gpu": None,
    }  # fmt: skip
    return values | changes


@pytest.fixture
def run(tmp_path):
    """A run directory; call it with records of shards."""

    def write(*records, submitted=0):
        for values in records:
            folder = tmp_path / "state" / "shards" / f"{values['shard']:04}_of_{values['of']:04}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "status.json").write_text(json.dumps(values))
            Plan(tmp_path, {"digest": "d"}, 32, 4, False, ("r.yaml",)).write()
        if submitted:
            (tmp_path / "slurm").mkdir(exist_ok=True)
            (tmp_path / "slurm" / "array.sbatch").write_text(f"#!/bin/bash\nshards={submitted}  # N\n")
        return tmp_path

    return write


@pytest.fixture
def queue(monkeypatch):
    """Slurm as these tests want it: a list of tasks, or an error."""
    answer: list = []

    def tasks_of(scripts, user):
        if answer and isinstance(answer[0], Exception):
            raise answer[0]
        return [Task(*task, str(scripts[0])) for task in answer]

    monkeypatch.setattr(client, "installed", lambda: True)
    monkeypatch.setattr(client, "tasks_of", tasks_of)
    return answer


def states(directory):
    return [shard.state for shard in look(directory).shards]


def test_without_slurm_the_files_alone_are_the_truth(run):
    directory = run(record(1, "complete", exit_code=0), record(2, "running"), record(3, "stopped", exit_code=75))
    overview = look(directory)
    assert states(directory) == ["complete", "running", "stopped", "waiting"]
    assert overview.exit_code == 75
    assert overview.shards[1].action == 14.0
    assert overview.resume == ["tpsctl sample r.yaml --shard 3/4"]


def test_a_failed_shard_decides_the_exit_code_and_is_named_with_the_command_to_resubmit(run, queue):
    failed = record(3, "failed", exit_code=1, message="the score at image 7 is not finite")
    directory = run(record(1, "complete", exit_code=0), record(2, "running"), failed, submitted=4)
    queue += [(12, 1, "COMPLETED", "", "n"), (12, 2, "RUNNING", "", "n"), (12, 3, "FAILED", "NonZeroExitCode", "n")]
    queue += [(12, 4, "PENDING", "JobArrayTaskLimit", "")]
    overview = look(directory)
    assert states(directory) == ["complete", "running", "failed", "waiting"]
    assert overview.exit_code == 1
    folder = directory / "slurm"
    assert overview.resume == [
        f"sbatch --dependency=afterok:$(sbatch --parsable --array=3 {folder}/array.sbatch) {folder}/gather.sbatch"
    ]
    shown = CliRunner().invoke(cli.app, ["status", str(directory)])
    assert shown.exit_code == 1
    assert "the score at image 7 is not finite" in shown.stdout
    assert "failed: shard 3" in shown.stdout
    assert "JobArrayTaskLimit" in shown.stdout
    assert overview.resume[0] in shown.stdout


@pytest.mark.parametrize(
    ("task", "note"),
    [
        ((12, 1, "TIMEOUT", "TimeLimit", "n"), "time limit"),
        ((12, 1, "OUT_OF_MEMORY", "OutOfMemory", "n"), "raise --mem"),
        ((12, 1, "CANCELLED", "", "n"), "cancelled"),
        ((12, 1, "BOOT_FAIL", "", "n"), "BOOT_FAIL"),
    ],
)
def test_a_shard_that_says_running_though_its_job_ended_is_lost_at_once(run, queue, task, note):
    queue.append(task)
    (shard,) = look(run(record(1, "running", of=1), submitted=1)).shards
    assert shard.state == "lost"
    assert note in shard.note


def test_a_silent_shard_without_a_job_is_lost_and_one_that_speaks_is_not(run, queue):
    directory = run(record(1, "running", seconds_ago=300), record(2, "running"), submitted=2)
    assert states(directory) == ["lost", "running", "lost", "lost"]
    assert look(directory).exit_code == 1


def test_a_silent_shard_of_a_running_job_is_still_running(run, queue):
    queue.append((12, 1, "RUNNING", "", "n"))
    (shard,) = look(run(record(1, "running", of=1, seconds_ago=300), submitted=1)).shards
    assert (shard.state, shard.note) == ("running", "silent")


def test_a_silent_shard_whose_process_on_this_host_is_gone_is_lost(run):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = socket.gethostname()
    gone = record(1, "running", of=2, seconds_ago=300, host=here, pid=ended.pid, slurm=None)
    alive = record(2, "running", of=2, seconds_ago=300, host=here, pid=os.getpid(), slurm=None)
    assert states(run(gone, alive)) == ["lost", "running"]


def test_requeued_and_resubmitted_shards_wait_or_start(run, queue):
    directory = run(
        record(1, "stopped", exit_code=75, of=3),
        record(2, "failed", exit_code=1, of=3),
        record(3, "running", of=3, seconds_ago=300),
        submitted=3,
    )
    queue += [(12, 1, "PENDING", "BeginTime", ""), (12, 2, "FAILED", "", "n"), (13, 2, "RUNNING", "", "n")]
    queue += [(12, 3, "PENDING", "BeginTime", "")]
    assert states(directory) == ["waiting", "running", "waiting"]
    assert look(directory).exit_code == 75
    assert look(directory).shards[0].note == "starting again (BeginTime)"


def test_a_requeued_shard_is_said_to_start_again_before_slurm_knows_why_it_waits(run, queue):
    queue.append((12, 1, "PENDING", "", ""))
    (shard,) = look(run(record(1, "stopped", exit_code=75, of=1), submitted=1)).shards
    assert (shard.state, shard.note) == ("waiting", "starting again")


def test_a_shard_that_never_spoke_is_lost_when_slurm_knows_no_job_of_it(run, queue):
    assert states(run(submitted=2)) == ["lost", "lost"]


def test_slurm_without_an_answer_changes_nothing_and_is_mentioned(run, queue):
    queue.append(SlurmError("squeue refused: Unable to contact slurm controller"))
    overview = look(run(record(1, "running", of=1, seconds_ago=300), submitted=1))
    assert overview.shards[0].state == "running"
    assert "Unable to contact" in overview.notes[0]


def test_when_all_shards_are_complete_what_is_left_is_to_gather(run):
    overview = look(run(record(1, "complete", of=2, exit_code=0), record(2, "complete", of=2, exit_code=3)))
    assert overview.exit_code == 75, "there is no result yet"
    assert overview.resume == [f"tpsctl gather {overview.directory}"]
    assert overview.shards[1].note == "a path is not converged or not valid"


@pytest.mark.parametrize(("outcome", "code"), [("complete", 0), ("not_converged", 3), ("not_valid", 3)])
def test_a_gathered_run_is_complete(tmp_path, outcome, code):
    counts = {"requested": 4, "produced": 4, "converged": 4, "valid": 4}
    (tmp_path / "manifest.json").write_text(json.dumps(counts | {"outcome": outcome}))
    shown = CliRunner().invoke(cli.app, ["status", str(tmp_path)])
    assert shown.exit_code == code
    assert f"outcome  {outcome}" in shown.stdout


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="no run of tpsctl here"):
        look(tmp_path)


def test_a_status_file_that_is_damaged_counts_as_none(run):
    directory = run(record(1, "running", of=2), record(2, "running", of=2))
    (directory / "state" / "shards" / "0002_of_0002" / "status.json").write_text('{"shard": 2, "of"')
    assert states(directory) == ["running", "waiting"]


def test_the_shards_of_the_last_partition_are_shown(run):
    old = [record(i, "stopped", exit_code=75, seconds_ago=900) for i in (1, 2, 3, 4)]
    assert states(run(*old, record(1, "running", of=2))) == ["running", "waiting"]


def test_json_has_all_that_the_table_has(run):
    directory = run(record(1, "failed", of=2, exit_code=1), record(2, "complete", of=2, exit_code=0))
    answer = json.loads(CliRunner().invoke(cli.app, ["status", str(directory), "--json"]).stdout)
    assert answer["exit_code"] == 1
    assert answer["batches"] == 8
    assert answer["counts"] == {"failed": 1, "complete": 1}
    assert [shard["job"] for shard in answer["shards"]] == ["12_1", "12_2"]
    assert answer["resume"]

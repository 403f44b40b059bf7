"""The batch scripts as text: what they say, that bash reads them, and what they do with each exit code."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tpsctl.errors import ExitCode
from tpsctl.jobs.slurm.script import (
    Submission,
    array_script,
    as_time,
    gather_script,
    ranges,
    resubmit_command,
    seconds_of,
)

OPTIONS = {"time": "02:00:00", "mem": "2G", "gres": "gpu:1", "partition": "gpu", "exclusive": ""}


def submission(directory=Path("/data/my run"), **changes):
    values = {"options": OPTIONS, "assignments": ("path.paths=8",), "setup": ("module load cuda",), "version": "1"}
    return Submission("ala", Path("/data/ala.yaml"), directory, 4, **(values | changes))


def test_the_array_script_is_as_documented(golden, root):
    golden(root / "tests" / "golden" / "array.sbatch", array_script(submission(max_parallel=2)))


def test_the_gather_script_is_as_documented(golden, root):
    golden(root / "tests" / "golden" / "gather.sbatch", gather_script(submission()))


@pytest.mark.parametrize("script", [array_script, gather_script])
def test_bash_reads_the_scripts(script):
    job = submission(setup=(), assignments=("name='a b'",))
    subprocess.run(["bash", "-n"], input=script(job), text=True, check=True)


def test_options_of_the_site_replace_the_defaults_but_not_what_the_run_depends_on():
    text = array_script(submission(options={"signal": "B:USR1@300", "job-name": "mine", "cpus-per-task": "8"}))
    directives = [line.split()[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--signal=B:USR1@300", "--job-name=mine", "--cpus-per-task=8", "--requeue", "--array=1-4"} <= set(
        directives
    )
    assert len(directives) == len({d.partition("=")[0] for d in directives})


def test_a_short_limit_holds_for_gathering_too():
    assert "#SBATCH --time=00:05:00" in gather_script(submission(options={"time": "5"}))
    assert "#SBATCH --time=00:30:00" in gather_script(submission())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 300),
        ("5:30", 330),
        ("1:00:00", 3600),
        ("2-3", 183600),
        ("2-3:4", 183840),
        ("1-02:03:04", 93784),
        ("", None),
    ],
)
def test_times_as_slurm_reads_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("seconds", [59, 3600, 86400, 200000])
def test_times_are_written_as_slurm_reads_them(seconds):
    assert seconds_of(as_time(seconds)) == seconds


def test_numbers_are_joined_to_ranges():
    assert ranges([7, 1, 2, 3, 9, 10]) == ["1-3", "7", "9-10"]


def test_the_command_to_resubmit_quotes_its_files():
    array, gather = "'/a b/slurm/array.sbatch'", "'/a b/slurm/gather.sbatch'"
    expected = f"sbatch --dependency=afterok:$(sbatch --parsable --array=3-4 {array}) {gather}"
    assert resubmit_command(Path("/a b"), [3, 4]) == expected


@pytest.fixture
def shard(tmp_path):
    """Runs the array script without Slurm: `tpsctl` and `scontrol` are small shell programs."""
    (tmp_path / "slurm").mkdir()
    (tmp_path / "bin").mkdir()
    requeue = tmp_path / "bin" / "scontrol"
    requeue.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/requeued"\n')
    requeue.chmod(0o755)
    environment = os.environ | {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    def start(body, **changes):
        program = tmp_path / "bin" / "tpsctl"
        program.write_text(f'#!/bin/bash\necho "$@" >"{tmp_path}/arguments"\n{body}\n')
        program.chmod(0o755)
        job = submission(tmp_path, setup=(), **changes)
        (tmp_path / "slurm" / "array.sbatch").write_text(array_script(job))
        return subprocess.Popen(["bash", tmp_path / "slurm" / "array.sbatch"], env=environment, text=True, stderr=-1)

    return start


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (3, 0), (1, 1), (2, 2), (143, 143), (130, 130), (137, 137)])
def test_what_slurm_sees_of_each_exit_code(shard, tmp_path, code, seen):
    assert shard(f"exit {code}").wait() == seen
    assert not (tmp_path / "requeued").exists()
    expected = f"sample /data/ala.yaml --out {tmp_path} --shard 3/4 --set path.paths=8\n"
    assert (tmp_path / "arguments").read_text() == expected


def test_an_unfinished_shard_is_requeued_so_often_and_no_more(shard, tmp_path):
    assert [shard("exit 75", requeues=2).wait() for _ in range(3)] == [0, 0, 75]
    assert (tmp_path / "requeued").read_text() == "requeue 12_3\n" * 2
    assert (tmp_path / "slurm" / "requeues_12_3").read_text() == "2\n"


def test_usr1_is_handed_on_and_the_real_exit_code_is_waited_for(shard, tmp_path):
    process = shard(f'trap "sleep 0.3; exit 75" USR1; touch "{tmp_path}/ready"; while :; do sleep 0.05; done')
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    process.send_signal(10)
    assert process.wait() == 0
    assert (tmp_path / "requeued").read_text() == "requeue 12_3\n"


def test_usr1_before_the_command_has_begun_loses_nothing(shard, tmp_path):
    process = shard(f'touch "{tmp_path}/ready"; exec sleep 5')
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    process.send_signal(10)
    assert process.wait() == 0
    assert (tmp_path / "requeued").exists()


def test_sigterm_waits_for_the_command_and_never_requeues(shard, tmp_path):
    process = shard(f'trap "sleep 0.3; exit 143" TERM; echo $$ >"{tmp_path}/pid"; while :; do sleep 0.05; done')
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    os.kill(int((tmp_path / "pid").read_text()), 15)
    process.send_signal(15)
    assert process.wait() == 143
    assert not (tmp_path / "requeued").exists()


def test_the_script_tells_the_exit_codes_apart_that_tpsctl_ends_with():
    text = array_script(submission())
    assert f"\n  {ExitCode.NOT_VALID}) exit 0 ;;" in text
    assert f"\n  {ExitCode.RESUMABLE} | {128 + signal.SIGUSR1})" in text

"""Everything else that goes wrong on real machines: a clear message, the right exit code, and nothing lost."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from tpsctl.errors import ExitCode


def sample(start, recipe, out, *words, fault=""):
    return start("sample", recipe, "--out", out, "--threads", 1, *words, fault=fault)


def mounted(place, *options):
    """A small file system of its own; skips where that is not permitted."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a small file system is not permitted here ({done.stderr.strip()})")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB."""
    place = tmp_path / "disk"
    mounted(place, "size=256k")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(start, recipe, whole, content, small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 200 * 1024)
    running = sample(start, recipe, small_disk / "run", "--save-every", 0)
    assert running.wait() == 1, running.text
    assert "cannot be written (No space left on device)" in running.text
    assert str(small_disk / "run") in running.text
    assert "Traceback" not in running.text
    filler.unlink()
    again = sample(start, recipe, small_disk / "run")
    assert again.wait() == 0, again.text
    assert content(small_disk / "run") == whole


@pytest.mark.slow
def test_a_full_disk_while_gathering_overwrites_nothing(start, recipe, whole, content, small_disk):
    out = small_disk / "run"
    assert sample(start, recipe, out).wait() == 0
    before = content(out)
    left = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(left - 64 * 1024))  # the result takes more, its first files less
    changed = sample(start, recipe, out, "--set", "seed=4", "--set", "path.images=60", "--overwrite")
    assert changed.wait() == 1, changed.text
    assert "No space left on device" in changed.text
    kept = {name: data for name, data in content(out).items() if not name.startswith("state")}
    assert kept == before


def test_a_read_only_place_is_named(start, recipe, tmp_path):
    place = tmp_path / "disk"
    mounted(place, "size=1m")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    try:
        running = sample(start, recipe, place / "run")
        assert running.wait() == 1, running.text
        assert f"{place}/run/state/plan.json: cannot be written (Read-only file system)" in running.text
        assert "Traceback" not in running.text
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_named(start, recipe, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    running = sample(start, recipe, tmp_path / "out" / "run")
    assert running.wait() == 1
    assert "cannot be written (Permission denied)" in running.text


def stopped(start, recipe, out):
    """A run that was killed with two snapshots; its shard's folder."""
    running = sample(start, recipe, out, "--save-every", 0, fault="slow_lbfgs")
    running.wait_for("2. lbfgs ...")
    assert running.kill_after(0.05) == -signal.SIGKILL, running.text
    return out / "state" / "shards" / "0001_of_0001"


SLOW = pytest.mark.slow


@pytest.mark.parametrize("damage", ["truncated", pytest.param("changed", marks=SLOW), pytest.param("both", marks=SLOW)])
def test_a_damaged_snapshot_gives_way_to_the_one_before(start, recipe, whole, content, tmp_path, damage):
    files = sorted(stopped(start, recipe, tmp_path / "run").glob("running-*"))
    assert 1 <= len(files) <= 3, "two, and one more if the kill came between writing and removing"
    for file in files if damage == "both" else files[-1:]:
        data = bytearray(file.read_bytes())
        data[-9] ^= 255
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else data)
    again = sample(start, recipe, tmp_path / "run")
    assert again.wait() == 0, again.text
    assert "Going back to the snapshot before it" in again.text
    assert content(tmp_path / "run") == whole


@pytest.mark.slow
def test_a_damaged_batch_is_made_again(start, recipe, whole, content, tmp_path):
    assert sample(start, recipe, tmp_path / "run", "--shard", "1/1").wait() == 0
    file = tmp_path / "run" / "state" / "batches" / "batch_00001.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    missing = start("gather", tmp_path / "run")
    assert missing.wait() == 1
    assert "1 of 3 batches are not there: 1 (paths 2-3)." in missing.text
    assert sample(start, recipe, tmp_path / "run").wait() == 0
    assert content(tmp_path / "run") == whole


@pytest.mark.slow
def test_a_damaged_plan_is_an_error_with_a_remedy(start, recipe, tmp_path):
    stopped(start, recipe, tmp_path / "run")
    (tmp_path / "run" / "state" / "plan.json").write_text("{")
    running = sample(start, recipe, tmp_path / "run")
    assert running.wait() == 1
    assert "plan.json: cannot be read" in running.text
    assert "--overwrite" in running.text


def test_two_processes_on_one_directory(start, recipe, whole, content, tmp_path):
    first = sample(start, recipe, tmp_path / "run", "--save-every", 0, fault="slow_lbfgs")
    first.wait_for("2. lbfgs ...")
    os.kill(first.pid, signal.SIGSTOP)  # slow, but alive
    second = sample(start, recipe, tmp_path / "run")
    assert second.wait() == 1, second.text
    assert f"process {first.pid} on " in second.text
    gathering = start("gather", tmp_path / "run")
    assert gathering.wait() == 1
    assert "batches are not there" in gathering.text
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0, first.text
    assert content(tmp_path / "run") == whole


@pytest.mark.parametrize("fault", ["clock_back", pytest.param("clock_ahead", marks=SLOW)])
def test_a_clock_that_jumps_changes_nothing(start, recipe, whole, content, tmp_path, fault):
    stopped(start, recipe, tmp_path / "run")
    running = sample(start, recipe, tmp_path / "run", "--maxh", 1, "--save-every", 0.2, fault=fault)
    assert running.wait() == 0, running.text
    assert content(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=SLOW),
        pytest.param(signal.SIGUSR1, ExitCode.RESUMABLE, marks=SLOW),
        pytest.param(signal.SIGKILL, -9, marks=SLOW),
    ],
)
def test_a_signal_in_the_middle_of_writing_a_trajectory(start, recipe, whole, content, tmp_path, number, code):
    running = sample(start, recipe, tmp_path / "run", fault="slow_dcd")
    running.wait_for("writing a DCD")
    assert running.kill_after(0.1, number) == code, running.text
    assert not (tmp_path / "run" / "manifest.json").exists()
    again = sample(start, recipe, tmp_path / "run")
    assert again.wait() == 0, again.text
    assert content(tmp_path / "run") == whole


@pytest.mark.slow
def test_gathering_twice_and_at_once(start, recipe, whole, content, tmp_path):
    for shard in ("1/2", "2/2"):
        assert sample(start, recipe, tmp_path / "run", "--shard", shard).wait() == 0
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    first = start("gather", tmp_path / "run", fault="slow_dcd")
    first.wait_for("writing a DCD")
    second = start("gather", tmp_path / "run")
    assert second.wait() == 1
    assert f"process {first.pid} on " in second.text
    assert first.wait() == 0
    third = start("gather", tmp_path / "run")
    assert third.wait() == 0
    assert "complete already; nothing to gather" in third.text
    assert content(tmp_path / "run") == whole


@pytest.mark.parametrize("shards", [pytest.param(1, marks=SLOW), 2, pytest.param(3, marks=SLOW)])
def test_any_number_of_shards_at_once_gives_the_same_paths(start, recipe, whole, content, tmp_path, shards):
    running = [sample(start, recipe, tmp_path / "run", "--shard", f"{i}/{shards}") for i in range(1, shards + 1)]
    assert [shard.wait() for shard in running] == [0] * shards, [shard.text for shard in running]
    done = start("gather", tmp_path / "run")
    assert done.wait() == 0, done.text
    assert content(tmp_path / "run") == whole


def test_a_signal_during_a_shard_is_in_its_status(start, recipe, tmp_path):
    running = sample(start, recipe, tmp_path / "run", "--shard", "2/3", "--save-every", 0, fault="slow_lbfgs")
    running.wait_for("2. lbfgs ...")
    assert running.kill_after(0, signal.SIGUSR1) == ExitCode.RESUMABLE
    shard = tmp_path / "run" / "state" / "shards" / "0002_of_0003"
    status = json.loads((shard / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["shard"], status["of"]) == (
        "stopped",
        ExitCode.RESUMABLE,
        2,
        3,
    )
    assert running.text.splitlines()[-1].startswith("Go on with: tpsctl sample ")
    assert running.text.splitlines()[-1].endswith(f"--out {tmp_path}/run --shard 2/3")
    assert not (shard / "lease.json").exists()

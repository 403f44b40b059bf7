"""One process per shard."""

import json
import multiprocessing
import os
import threading
import time

import pytest

from tpsctl.errors import StateError
from tpsctl.jobs import lease as module
from tpsctl.jobs.lease import Lease, holder


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lease.json"


def forge(file, **changes):
    """A lease of this process with some facts changed."""
    Lease(file).take()
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_lease_is_held_by_one_and_given_back(file):
    first = Lease(file)
    first.take()
    with pytest.raises(StateError, match=rf"process {os.getpid()} on .* works on this already"):
        Lease(file).take()
    assert holder(file).startswith(f"process {os.getpid()} on ")
    assert first.beat()
    first.release()
    assert holder(file) == ""
    Lease(file).take()


def test_a_dead_process_of_this_host_is_replaced_at_once(file, monkeypatch):
    child = multiprocessing.get_context("spawn").Process(target=os.getpid)
    child.start()
    child.join()
    forge(file, pid=child.pid, began=1)
    monkeypatch.setattr(module, "_is_silent", lambda *_: pytest.fail("nobody need wait for a dead process"))
    Lease(file).take()


def test_a_process_id_that_was_given_to_another_program_is_not_taken_for_the_holder(file):
    forge(file, began=1)
    assert holder(file) == ""
    Lease(file).take()


def test_a_holder_on_another_host_is_replaced_when_it_has_been_silent(file):
    forge(file, host="elsewhere")
    Lease(file).take(stale_s=0.05)
    assert json.loads(file.read_text())["host"] != "elsewhere"


def test_a_holder_on_another_host_that_beats_is_left_alone(file, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    forge(file, host="elsewhere")
    stop = threading.Event()

    def beat():
        text, beats = json.loads(file.read_text()), 0
        while not stop.wait(0.02):
            beats += 1
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps(text | {"beats": beats}))
            os.replace(temporary, file)

    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(StateError, match="on elsewhere works on this already"):
        Lease(file).take(stale_s=1.0)
    stop.set()
    beating.join()


def test_an_earlier_run_of_the_same_batch_job_is_replaced_at_once(file, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    forge(file, host="elsewhere")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    Lease(file).take()


@pytest.mark.parametrize("jump_s", [-1e7, 1e7])
def test_a_clock_that_jumps_changes_nothing(file, monkeypatch, jump_s):
    mine = Lease(file)
    mine.take()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump_s)
    os.utime(file, (now() - jump_s, now() - jump_s))
    with pytest.raises(StateError):
        Lease(file).take()
    assert mine.beat()


def test_whoever_lost_the_lease_notices_and_does_not_give_back_what_is_not_his(file):
    mine = Lease(file)
    mine.take()
    forged = json.loads(file.read_text()) | {"token": "another"}
    file.write_text(json.dumps(forged))
    assert not mine.beat()
    mine.release()
    assert file.exists()


def test_a_half_written_lease_is_taken_over_when_nothing_happens(file):
    file.write_text("")
    Lease(file).take(stale_s=0.05)


def _compete(file, results, all_tried):
    try:
        Lease(file).take()
        results.put(1)
    except StateError:
        results.put(0)
    all_tried.wait(120)  # a holder that ended would be replaced, rightly


def test_of_many_that_want_a_dead_holders_lease_one_gets_it(file):
    forge(file, began=1)
    context = multiprocessing.get_context("fork")
    results, all_tried = context.Queue(), context.Barrier(6)
    rivals = [context.Process(target=_compete, args=(file, results, all_tried)) for _ in range(6)]
    for rival in rivals:
        rival.start()
    assert sum(results.get(timeout=120) for _ in rivals) == 1
    for rival in rivals:
        rival.join()

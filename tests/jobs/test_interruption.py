"""Signals are noted, and time limits kept."""

import signal
import subprocess
import sys
import time

import pytest

from tpsctl.errors import Interrupted
from tpsctl.jobs.interruption import TimeLimit, noted_interruptions, telling_how_to_go_on

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)]


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_is_noted_and_the_old_handler_is_put_back(number, code):
    before = signal.getsignal(number)
    with noted_interruptions() as asked:
        assert asked() == 0
        signal.raise_signal(number)
        assert asked() == code
    assert signal.getsignal(number) is before


def test_a_signal_that_nobody_asked_about_takes_effect_at_the_end():
    with pytest.raises(KeyboardInterrupt), noted_interruptions():
        signal.raise_signal(signal.SIGINT)


def test_a_time_limit_is_near_when_another_step_might_end_too_late(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tpsctl.jobs.interruption._STARTED", 1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = TimeLimit(0.01)  # 36 s
    answers = []
    for step_s in (5.0, 10.0, 5.0, 3.0, 1.0, 1.0):
        now[0] += step_s
        answers.append(limit.near())
    # the longest step is 10 s, saving 2 s: near from second 24 on
    assert answers == [False, False, False, False, False, True]
    assert not TimeLimit(None).near()


@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (Interrupted("stopped.", 75), 75)]
)
def test_whatever_stops_a_job_it_is_said_how_to_go_on(stop, code):
    with pytest.raises(Interrupted, match="Go on with: this command") as told, telling_how_to_go_on("this command"):
        raise stop
    assert told.value.exit_code == code


STUBBORN = """
import signal, sys, time
from tpsctl.jobs.interruption import ended_in_time

def ending(number, frame):
    raise SystemExit(0)

signal.signal(signal.{name}, ending)
with ended_in_time(0.5):
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
            break
        except SystemExit:
            pass  # as a library does that swallows what the handler raises
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_process_that_does_not_end_by_itself_is_ended(name, code):
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(name=name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "did not end within 0.5 s of the signal; stopped at once" in errors


def test_a_process_that_ends_by_itself_is_left_alone():
    code = "from tpsctl.jobs.interruption import ended_in_time\nwith ended_in_time(0.1): pass\nprint('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n")

"""Starts tpsctl commands by forking, so that every one is a process of its own and nothing is imported twice.

One JSON object per line comes in, one goes out:

    {"start": [words], "log": file, "fault": name, "environment": {}}    ->  {"pid": pid}
    {"poll": pid}    ->  {"code": null while it runs, then as of subprocess}

A fault is the name of a function of this module; "stuck:module:function" is any function of tpsctl that hangs.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback

import openmm  # noqa: F401
import torch
import torch.fx.experimental.symbolic_shapes  # noqa: F401 (what the first gradient imports)

from tpsctl.cli import app as cli  # noqa: F401
from tpsctl.jobs import interruption
from tpsctl.optimize import lbfgs
from tpsctl.output import dcd, trajectory
from tpsctl.workflows.train import run as train  # noqa: F401


def slow_dcd():
    """Writing a DCD file takes two seconds after its first frames."""

    def write(file, x, **options):
        dcd.write_dcd(file, x[:2], **options)
        sys.stderr.write("writing a DCD\n")
        time.sleep(2.0)
        dcd.write_dcd(file, x, **options)

    trajectory.write_dcd = write


def slow_lbfgs():
    """The first steps of L-BFGS take three seconds in all: time to be killed among them on a busy machine, too."""
    step, waits = lbfgs._Run.step, iter([0.3] * 10)

    def slow_step(run):
        time.sleep(next(waits, 0))
        return step(run)

    lbfgs._Run.step = slow_step


def clock_back():
    """The system's clock is set back by a year a second after the start."""
    now, began = time.time, time.time()
    time.time = lambda: now() - (3e7 if now() - began > 1 else 0)


def clock_ahead():
    """The system's clock is set a year ahead."""
    now = time.time
    time.time = lambda: now() + 3e7


def stuck(place):
    """A function hangs in C, where Python handles no signal, and is ended a second after one."""
    module, _, names = place.partition(":")
    *owners, name = names.split(".")
    owner = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    interruption.ENDING_S = 1.0
    before = getattr(owner, name)

    def hang(*arguments, **options):
        if place in _HALF_DONE:
            before(*arguments, **options)
        library, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
        library.pthread_mutex_init(lock, None)
        library.pthread_mutex_lock(lock)
        while True:
            try:
                sys.stderr.write(f"stuck in {place}\n")
                sys.stderr.flush()
                library.pthread_mutex_lock(lock)  # waits for the first lock to be undone
            except BaseException:  # the signal came in front of the lock
                continue

    setattr(owner, name, hang)


_HALF_DONE = ("tpsctl.workflows.checkpoints:save_model", "tpsctl.workflows.sample.run:write_results")
"""What has written its file when it hangs."""


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"pid": start(request)} if "start" in request else {"code": poll(request["poll"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def poll(pid):
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def start(request):
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(log, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["tpsctl", *request["start"]]
        os.environ.update(request["environment"])
        if request["fault"]:
            name, *place = request["fault"].split(":", 1)
            globals()[name](*place)
        cli.main()
    except Exception:
        traceback.print_exc()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()

"""Divides a run among several processes of one machine: each takes a shard, with one CPU thread or a GPU of its own.

Operations on a small molecule are too short to be split among threads, and Python threads wait for one another;
processes with batches of their own do not (docs/development/performance.md). They are the shards of `tpsctl sample
--shard i/N`, so a kill loses as little as anywhere, and the paths are the same for any number of them.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpsctl.errors import ExitCode, Interrupted, OutputError, RecipeError
from tpsctl.jobs.interruption import EXIT_CODES, noted_interruptions
from tpsctl.jobs.plan import Plan
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress

_LOOK_EVERY_S = 0.5
_ENDED_WELL = (ExitCode.COMPLETE, ExitCode.NOT_VALID)
_TOLD_LINES = 5
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Process:
    """What one of the processes gets.

    Attributes:
        options: Words of its command line beside its shard.
        environment: Environment variables that differ from this process's.
    """

    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """One of the processes, its shard, and the file with what it says."""

    shard: Shard
    process: subprocess.Popen[bytes]
    log: Path


def run_side_by_side(plan: Plan, processes: Sequence[Process], progress: Progress, *, rounds: int = 0) -> None:
    """Compute all batches of a plan.

    Args:
        plan: What is to be done.
        processes: What each process gets beside its shard.
        progress: Told how far all of them together are.
        rounds: Most rounds of a plan on whose batch all processes work together; 0 if that is unknown.

    Raises:
        Interrupted: Told to stop, and so were the processes.
        OutputError: One of them failed; its last words are told, the others were stopped.
    """
    what = "which share every round" if plan.together else f"{plan.batches} batches"
    progress.say(f"{len(processes)} processes side by side, {what}")
    workers: list[Worker] = []
    with noted_interruptions() as asked:
        try:
            for number, process in enumerate(processes, start=1):
                workers.append(_started(plan, Shard(number, len(processes)), process))
            with progress.task(*(("rounds", rounds) if plan.together else ("paths", plan.paths))) as update:
                while not _failed(workers) and any(worker.process.poll() is None for worker in workers):
                    time.sleep(_LOOK_EVERY_S)
                    statuses = [_status(plan, worker.shard) for worker in workers]
                    update(_done(plan, statuses), _words(plan, statuses))
                    if code := asked():
                        _stop(workers, next(number for number, meant in EXIT_CODES.items() if meant == code))
                        raise Interrupted(
                            f"stopped between two steps, state saved.\nGo on with: {plan.command()}", code
                        )
            failed = _failed(workers)  # before the others are stopped, which may look like a failure
        finally:
            _stop(workers, signal.SIGTERM)
    if failed:
        raise _failure(failed[0], plan)


def _started(plan: Plan, shard: Shard, what: Process) -> Worker:
    log = plan.shard_folder(shard) / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "tpsctl", plan.subcommand, *plan.origin, "--shard", str(shard), *what.options]
    with log.open("ab") as file:
        # In a session of its own, so that Ctrl-C reaches it once: from here.
        process = subprocess.Popen(
            words,
            stdout=file,
            stderr=file,
            env=os.environ | what.environment,
            start_new_session=True,
            preexec_fn=_end_with_parent(os.getpid()),
        )
    return Worker(shard, process, log)


def _end_with_parent(parent: int) -> Any:
    """Give what a new process does first: it has the system end it when its parent ends (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(EXIT_CODES[signal.SIGTERM])

    return ask


def _failed(workers: Sequence[Worker]) -> list[Worker]:
    """The processes that ended with an error."""
    return [worker for worker in workers if worker.process.poll() not in (None, *_ENDED_WELL)]


def _stop(workers: Sequence[Worker], number: int) -> None:
    """Tell all processes that still work to save and end, and wait for them."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(number)
    for worker in workers:
        worker.process.wait()


def _status(plan: Plan, shard: Shard) -> dict[str, Any]:
    try:
        return dict(json.loads((plan.shard_folder(shard) / "status.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _done(plan: Plan, statuses: Sequence[dict[str, Any]]) -> int:
    """Rounds or paths that are done; in a search in rounds all processes are in the same round, or one apart."""
    if plan.together:
        return max(status.get("step", 0) for status in statuses)
    return sum(status.get("paths_done", 0) for status in statuses)


def _words(plan: Plan, statuses: Sequence[dict[str, Any]]) -> str:
    if plan.together:
        return str(max(statuses, key=lambda status: status.get("step", 0)).get("stage", ""))
    return "; ".join(f"{s['stage']} step {s['step']}" for s in statuses if s.get("stage"))


def _failure(worker: Worker, plan: Plan) -> Exception:
    """Make the error of a process that failed, with the last lines it printed."""
    code = worker.process.returncode
    said = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_TOLD_LINES:]
    if code in EXIT_CODES.values():
        return Interrupted(f"process {worker.shard} was stopped.\nGo on with: {plan.command()}", code)
    text = "\n".join([f"process {worker.shard} failed (exit code {code}):", *said])
    return RecipeError(text) if code == ExitCode.USAGE else OutputError(text)

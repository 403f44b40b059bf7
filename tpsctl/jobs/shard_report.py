"""Describes one shard, from its own record and from what Slurm says about its task."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tpsctl.errors import ExitCode
from tpsctl.jobs.lease import lives
from tpsctl.jobs.slurm.client import Task

SILENT_S = 60.0
"""A shard that has not rewritten its file for so long has stopped, or hangs."""

_ENDED_BY = {
    "TIMEOUT": "reached its time limit before it could save: raise --time, or the notice in #SBATCH --signal",
    "OUT_OF_MEMORY": "needed more memory than it had: raise --mem in the script",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "its node failed",
}


@dataclass(frozen=True)
class ShardReport:
    """What is known of one shard.

    Attributes:
        shard: Its number, from 1.
        of: Number of shards.
        state: waiting, running, complete, stopped, failed or lost.
        note: Why, or what to know about it.
        exit_code: Of its last run; None if that did not end by itself.
        batches: Numbers of its batches of paths.
        batches_done: How many of them are finished.
        paths: Number of its paths.
        paths_done: How many of them are finished.
        stage: Stage of the optimization it is in.
        step: Step of that stage.
        action: Mean action of the batch it works on.
        silent_s: Seconds since it last said something.
        host: Where it runs or ran last.
        job: Slurm's name of its task, e.g. "12_3".
        restart: How often Slurm has started that task again.
        slurm: Slurm's word for the state of the task, with the reason.
        log: File with what it printed, if it was submitted.
    """

    shard: int
    of: int
    state: str
    note: str = ""
    exit_code: int | None = None
    batches: tuple[int, ...] = ()
    batches_done: int = 0
    paths: int = 0
    paths_done: int = 0
    stage: str = ""
    step: int | None = None
    action: float | None = None
    silent_s: float | None = None
    host: str = ""
    job: str = ""
    restart: int = 0
    slurm: str = ""
    log: str | None = None


def judge(record: dict[str, Any], task: Task | None, *, slurm_answers: bool) -> ShardReport:
    """Combine a shard's own record with what Slurm says.

    Args:
        record: Its status.json; only {"shard": i, "of": N} if it has none.
        task: Its newest task, if Slurm remembers one.
        slurm_answers: Whether Slurm was asked and answered, so that no task means that there is none.
    """
    slurm = record.get("slurm") or {}
    actions = record.get("action_total") or []
    array_job, index = slurm.get("array_job"), slurm.get("array_task")
    shard = ShardReport(
        shard=record["shard"],
        of=record["of"],
        state=record.get("state", "waiting"),
        note=record.get("message") or "",
        exit_code=record.get("exit_code"),
        batches=tuple(record.get("batches", ())),
        batches_done=record.get("batches_done", 0),
        paths=record.get("paths", 0),
        paths_done=record.get("paths_done", 0),
        stage=record.get("stage") or "",
        step=record.get("step"),
        action=sum(actions) / len(actions) if actions else None,
        silent_s=_seconds_since(record["updated"]) if "updated" in record else None,
        host=record.get("host", ""),
        job=task.name if task else f"{array_job}_{index}" if array_job else slurm.get("job") or "",
        restart=int(slurm.get("restart") or 0),
        slurm=in_words(task),
    )
    if task is not None and task.state == "PENDING" and shard.state != "complete":
        return replace(shard, state="waiting", note=_waits_for(task, again="state" in record))
    return _JUDGES[shard.state](shard, task, _gone(record, task, slurm_answers))


def _gone(record: dict[str, Any], task: Task | None, slurm_answers: bool) -> bool:
    """Whether, as far as can be seen from here, no job or process of the shard is left."""
    if task is not None:
        return not task.active
    if slurm_answers and ("state" not in record or record.get("slurm")):
        return True
    pid = record.get("pid")
    return record.get("host") == socket.gethostname() and pid is not None and not lives(pid)


def _judge_waiting(shard: ShardReport, task: Task | None, gone: bool) -> ShardReport:
    """Judge a shard that has not written its status yet."""
    if gone:
        return replace(shard, state="lost", note=_ended(task))
    return shard if task is None else replace(shard, state="running", note="starting")


def _judge_running(shard: ShardReport, task: Task | None, gone: bool) -> ShardReport:
    """Judge a shard whose file says that it runs; a process that was killed may have left such a file a moment ago."""
    silent = shard.silent_s is None or shard.silent_s > SILENT_S
    if gone and (silent or task is not None):
        return replace(shard, state="lost", note=_ended(task))
    return replace(shard, note=f"silent; {shard.note}".rstrip("; ")) if silent else shard


def _judge_ended(shard: ShardReport, task: Task | None, gone: bool) -> ShardReport:
    """Judge a shard that stopped or failed; it may have been started again and not have written its status yet."""
    return shard if task is None or gone else replace(shard, state="running", note="ending, or starting again")


def _judge_complete(shard: ShardReport, task: Task | None, gone: bool) -> ShardReport:
    if shard.exit_code != ExitCode.NOT_VALID:
        return shard
    return replace(shard, note="a path is not converged or not valid")


_JUDGES: dict[str, Callable[[ShardReport, Task | None, bool], ShardReport]] = {
    "waiting": _judge_waiting,
    "running": _judge_running,
    "stopped": _judge_ended,
    "failed": _judge_ended,
    "complete": _judge_complete,
}


def _waits_for(task: Task, *, again: bool) -> str:
    """Say why a task waits, as far as Slurm knows, and whether it is being started again."""
    if not again:
        return task.reason
    return f"starting again ({task.reason})" if task.reason else "starting again"


def _ended(task: Task | None) -> str:
    if task is None:
        return "silent, and its process or job is gone"
    return _ENDED_BY.get(task.state, f"its job ended without a word ({in_words(task)})")


def in_words(task: Task | None) -> str:
    """State and reason as in squeue, with the job's name."""
    if task is None:
        return ""
    return f"{task.name} {task.state}" + (f" ({task.reason})" if task.reason else "")


def _seconds_since(moment: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())

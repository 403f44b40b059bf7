"""Writes status.json, which says how far a shard is, every few seconds, for `tpsctl status` and for scripts."""

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

ShardState = Literal["running", "complete", "stopped", "failed"]


@dataclass
class ShardStatus:
    """What is known of a shard.

    Attributes:
        shard: Its number, from 1.
        of: How many shards there are.
        batches: Its batches, counted from 0.
        paths: Paths in its batches.
        gpu: Name of the GPU; None on a CPU.
        batches_done: Batches that are finished.
        paths_done: Paths in them.
        state: What it does.
        exit_code: How it ended; None while it runs.
        stage: What is done just now.
        step: Optimizer step in this stage; the number of finished rounds in a search in rounds.
        action_total: Action of the paths of the batch under way.
        message: Why it stopped or failed.
    """

    shard: int
    of: int
    batches: list[int]
    paths: int
    gpu: str | None = None
    batches_done: int = 0
    paths_done: int = 0
    state: ShardState = "running"
    exit_code: int | None = None
    stage: str = ""
    step: int = 0
    action_total: list[float] = field(default_factory=list)
    message: str = ""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: _now())
    slurm: dict[str, Any] | None = field(default_factory=lambda: slurm_ids())


class StatusFile:
    """Writes a status; the working thread and the one that renews the lease both do so."""

    def __init__(self, file: Path, status: ShardStatus) -> None:
        self.status = status
        self._file, self._lock = file, Lock()

    def write(self) -> None:
        """Replace the file. If that fails, nothing is said: a full disk is reported when a result is written."""
        with self._lock:
            temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
            try:
                text = json.dumps(asdict(self.status) | {"updated": _now()}, indent=1)
                temporary.write_text(text + "\n", encoding="utf-8")
                os.replace(temporary, self._file)
            except OSError:
                return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def slurm_ids() -> dict[str, Any] | None:
    """Job, array and restart ids of a batch job; None outside of one."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    names = {"array_job": "SLURM_ARRAY_JOB_ID", "array_task": "SLURM_ARRAY_TASK_ID", "restart": "SLURM_RESTART_COUNT"}
    return {"job": job} | {name: os.environ.get(variable) for name, variable in names.items()}

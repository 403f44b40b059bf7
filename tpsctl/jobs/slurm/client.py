"""Calls the Slurm commands that tpsctl needs: submit a job, list the queue, cancel a job."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tpsctl.errors import MissingDependencyError, TpsctlError

ACTIVE = (
    *("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("COMPLETING", "STAGE_OUT", "PREEMPTED"),
    *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
)
"""States of a job that will start or go on, is still ending, or was put back into the queue."""

_ANSWER_S = 30.0


class SlurmError(TpsctlError):
    """Slurm refused a request, or it does not answer."""


@dataclass(frozen=True)
class Task:
    """One job, or one task of a job array, as `squeue` shows it for some minutes after its end.

    Attributes:
        job: Job id (of the array).
        index: Index in the array; None for a plain job.
        state: State in Slurm's words, e.g. "RUNNING".
        reason: Slurm's reason why it waits, or how it ended.
        nodes: Names of the nodes on which it runs; "" while it waits.
        script: The script file that was submitted.
    """

    job: int
    index: int | None
    state: str
    reason: str
    nodes: str
    script: str

    @property
    def name(self) -> str:
        """Slurm's name of the job or array task, e.g. "1234_5"."""
        return str(self.job) if self.index is None else f"{self.job}_{self.index}"

    @property
    def active(self) -> bool:
        """Whether the task waits, runs or is still ending."""
        return self.state in ACTIVE


def installed() -> bool:
    """Whether the commands of Slurm are installed here."""
    return shutil.which("sbatch") is not None


def require() -> None:
    """Refuse to go on without Slurm.

    Raises:
        MissingDependencyError: sbatch is not installed; the message says what to do instead.
    """
    if not installed():
        raise MissingDependencyError(
            "sbatch: not found; this is no machine of a Slurm cluster. Go to its login node, or use --dry-run."
        )


def submit(script: Path, *, after: str | None = None) -> str:
    """Submit a script, and return the id of the job.

    Args:
        script: The script file.
        after: Id of a job all of whose tasks must end with exit code 0 before this one starts; None to start at once.

    Raises:
        SlurmError: sbatch refused; the message repeats its words.
    """
    dependency = [] if after is None else [f"--dependency=afterok:{after}"]
    return _call("sbatch", "--parsable", *dependency, str(script)).strip().partition(";")[0]


def cancel(job: str) -> None:
    """Cancel a job that waits or runs.

    Raises:
        SlurmError: Slurm refused, or it does not answer.
    """
    _call("scancel", job)


def tasks_of(scripts: list[Path], user: str) -> list[Task]:
    """List all jobs of these script files that Slurm still remembers; every task of an array is one entry.

    Raises:
        SlurmError: Slurm does not answer.
    """
    form = "--format=%F|%K|%T|%r|%N|%o"
    lines = _call("squeue", "--noheader", "--array", "--states=all", f"--user={user}", form).splitlines()
    tasks = [_task(*line.split("|", 5)) for line in lines]
    return [task for task in tasks if Path(task.script) in scripts]


def _task(job: str, index: str, state: str, reason: str, nodes: str, script: str) -> Task:
    number = int(index) if index.isdecimal() else None
    return Task(int(job), number, state, "" if reason == "None" else reason, nodes, script)


def largest_array_index() -> int | None:
    """The largest index of an array task that this cluster allows; None if its configuration does not tell."""
    for line in _call("scontrol", "show", "config").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return int(value) - 1
    return None


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]}: no answer within {_ANSWER_S:.0f} s. Try again later.") from None
    if done.returncode:
        raise SlurmError(f"{command[0]} refused: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout

"""Writes the batch scripts of a run, which users can read and edit.

The shard script follows four rules, each of which was found by running jobs:

- tpsctl runs in the background, because bash acts on a signal only between commands, or in `wait`.
- `wait` ends at once when a signal arrives, so it is called again for the command's real exit code.
- Exit code 75 (stopped early, saved) puts the task back into the queue, a limited number of times.
- A task that was terminated (scancel: 143) is not put back into the queue, because somebody ended it on purpose.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "slurm"
"""Folder of the run directory that holds scripts, logs and counts of requeues."""

OWN = ("array", "chdir", "dependency", "error", "kill-on-invalid-dep", "open-mode", "output", "requeue", "wait")
"""Options of sbatch that the scripts set themselves, because the run depends on them."""

NOTICE_S = 120
"""Seconds before the time limit at which Slurm sends USR1; it may come up to 60 s earlier."""

_ONLY_OF_SHARDS = ("cpus-per-task", "gpus", "gpus-per-node", "gpus-per-task", "gres", "mem-per-gpu", "signal", "time")
_GATHER_TIME_S = 1800

_SHARD = """
task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
count=$directory/slurm/requeues_$task
echo "$(date '+%F %T') job $task on $(hostname), restart ${SLURM_RESTART_COUNT:-0}" >&2

# In the background, or bash would act on a signal only after the command.
"${tpsctl[@]}" sample "$recipe" --out "$directory" --shard "$SLURM_ARRAY_TASK_ID/$shards" "${changes[@]}" &
child=$!
trap 'again=yes; kill -USR1 "$child"' USR1  # the time limit is near: it saves its state and exits 75
trap 'again=yes' TERM  # scancel; Slurm tells the command itself: it saves its state and exits 143

# A signal ends `wait` early: wait again for the command's own exit code.
again=yes
while [ -n "$again" ]; do again=; wait "$child"; code=$?; done

case $code in
  3) exit 0 ;;  # done, but a path is not converged or not valid: the gather job says which
  75 | 138)  # stopped early and resumable (138: told to stop before it had begun): back into the queue
    before=$(cat "$count" 2>/dev/null || echo 0)
    if [ "$before" -ge "$requeues" ]; then
      echo "stopped early after $before requeues, as many as are allowed: not requeued" >&2
    elif echo $((before + 1)) >"$count"; then
      scontrol requeue "$task" && exit 0
    fi ;;
esac
exit "$code"  # 1 failed, 2 wrong recipe or usage, 130 and 143 ended by somebody: not tried again
"""

_GATHER = """
exec "${tpsctl[@]}" gather "$directory"
"""


@dataclass(frozen=True)
class Submission:
    """All values that the two scripts of a run contain.

    Attributes:
        name: Name of the run, for `squeue`.
        recipe: Recipe file, absolute.
        directory: Run directory, absolute.
        shards: Number N of array tasks.
        options: Options of sbatch by long names without dashes, e.g. {"time": "02:00:00"}; a flag has the value "".
        assignments: Changes of the recipe, as after `--set`.
        setup: Shell lines before the command, e.g. "module load cuda".
        command: How to start tpsctl on a node.
        max_parallel: Largest number of tasks that run at the same time; None for no limit.
        requeues: How often a task may put itself back into the queue.
        working_directory: Directory in which the command runs; file names in `assignments` are relative to it.
        version: Version of tpsctl, for the head of the scripts.
    """

    name: str
    recipe: Path
    directory: Path
    shards: int
    options: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    command: str = "tpsctl"
    max_parallel: int | None = None
    requeues: int = 20
    working_directory: Path = Path("/")
    version: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the scripts and logs."""
        return self.directory / FOLDER

    @property
    def array_file(self) -> Path:
        """File of the script of the job array."""
        return self.folder / "array.sbatch"

    @property
    def gather_file(self) -> Path:
        """File of the script of the gather job."""
        return self.folder / "gather.sbatch"


def array_script(job: Submission) -> str:
    """Text of the script of the job array, in which every task runs one shard."""
    tasks = f"1-{job.shards}" + (f"%{job.max_parallel}" if job.max_parallel else "")
    options = {"job-name": job.name, "signal": f"B:USR1@{NOTICE_S}", "cpus-per-task": "1"} | dict(job.options)
    own = {"array": tasks, "output": _log(job, "shard_%4a.log"), "open-mode": "append", "requeue": ""}
    what = f"The shards of {job.name}, one per array task."
    return "\n".join(
        [
            *_head(job, what, "To submit some of them again: `tpsctl status` says how.", options | own),
            f"shards={job.shards}  # not SLURM_ARRAY_TASK_COUNT: that counts only the tasks submitted this time",
            f"requeues={job.requeues}  # at most so often",
            f"recipe={shlex.quote(str(job.recipe))}",
            f"changes=({' '.join(f'--set {shlex.quote(a)}' for a in job.assignments)})",
            _SHARD,
        ]
    )


def gather_script(job: Submission) -> str:
    """Text of the script of the gather job, which Slurm starts after every task has ended with exit code 0."""
    options = {name: value for name, value in job.options.items() if name not in _ONLY_OF_SHARDS}
    limit = min(_GATHER_TIME_S, seconds_of(job.options.get("time", "")) or _GATHER_TIME_S)
    options = {"job-name": f"{job.name}-gather", "time": as_time(limit)} | options
    own = {"output": _log(job, "gather.log"), "open-mode": "append", "requeue": "", "kill-on-invalid-dep": "yes"}
    what = f"Makes the run directory of {job.name} of its finished shards; may be run again at any time."
    how = "To be submitted with --dependency=afterok:JOB of the array."
    return "\n".join([*_head(job, what, how, options | own), _GATHER])


def _head(job: Submission, what: str, how: str, options: Mapping[str, str]) -> list[str]:
    """The first lines of both scripts."""
    options = {"job-name": options["job-name"], "chdir": str(job.working_directory)} | dict(options)
    return [
        "#!/bin/bash",
        f"# {what}",
        f"# {how} Written by tpsctl {job.version}; yours to edit.",
        *_directives(options),
        "",
        *(*job.setup, "")[not job.setup :],
        f"tpsctl=({job.command})",
        f"directory={shlex.quote(str(job.directory))}",
    ]


def resubmit_command(directory: Path, shards: list[int]) -> str:
    """A shell command that submits these shards again, and the gather job to follow them."""
    folder = directory / FOLDER
    array, gather = (shlex.quote(str(folder / name)) for name in ("array.sbatch", "gather.sbatch"))
    tasks = ",".join(ranges(shards))
    return f"sbatch --dependency=afterok:$(sbatch --parsable --array={tasks} {array}) {gather}"


def ranges(numbers: list[int]) -> list[str]:
    """Join consecutive numbers to ranges as Slurm writes them: [1, 2, 3, 7] -> ["1-3", "7"]."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return [str(a) if a == b else f"{a}-{b}" for a, b in runs]


def seconds_of(time: str) -> int | None:
    """Convert a time limit of Slurm to seconds; None if it cannot be read.

    The formats are minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and
    days-hours:minutes:seconds.
    """
    matched = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time.strip())
    if matched is None:
        return None
    days, *rest = matched.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is None and len(numbers) < 3:
        numbers.insert(0, 0)
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def as_time(seconds: float) -> str:
    """Write seconds in Slurm's format [days-]hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{rest:02}" if days else f"{hours:02}:{minutes:02}:{rest:02}"


def _directives(options: Mapping[str, str]) -> list[str]:
    return [f"#SBATCH --{name}" + (f"={_quoted(value)}" if value else "") for name, value in options.items()]


def _quoted(value: str) -> str:
    """Quote a value for sbatch, which is no shell: in double quotes if it has a space or a comment sign."""
    return f'"{value}"' if re.search(r"[\s#]", value) else value


def _log(job: Submission, name: str) -> str:
    return str(job.folder).replace("%", "%%") + f"/{name}"

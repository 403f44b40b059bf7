"""Describes an unfinished or finished run: all its shards, the gather job, and how to continue."""

import getpass
import json
import pwd
import re
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tpsctl.errors import ExitCode, RecipeError, TpsctlError
from tpsctl.jobs.plan import Plan, read_plan
from tpsctl.jobs.shard import Shard
from tpsctl.jobs.shard_report import ShardReport, in_words, judge
from tpsctl.jobs.slurm import client
from tpsctl.jobs.slurm.client import Task
from tpsctl.jobs.slurm.script import FOLDER, resubmit_command
from tpsctl.output.manifest import read_manifest


@dataclass(frozen=True)
class Overview:
    """What is known of a run.

    Attributes:
        directory: Run directory.
        shards: One entry per shard; empty when all is gathered.
        outcome: Outcome in the manifest of a gathered run.
        gather: Slurm's word about the gather job.
        notes: What a person should know besides.
        plan: What the shards compute; None before the first of them has begun, and when all is gathered.
    """

    directory: Path
    shards: tuple[ShardReport, ...]
    outcome: str | None
    gather: str
    notes: tuple[str, ...]
    plan: Plan | None = None

    @property
    def exit_code(self) -> ExitCode:
        """COMPLETE or NOT_VALID of a gathered run, FAILED if a shard failed or is lost, RESUMABLE otherwise."""
        if self.outcome is not None:
            return ExitCode.COMPLETE if self.outcome == "complete" else ExitCode.NOT_VALID
        bad = any(shard.state in ("failed", "lost") for shard in self.shards)
        return ExitCode.FAILED if bad else ExitCode.RESUMABLE

    @property
    def counts(self) -> dict[str, int]:
        """Number of shards in each state."""
        states = [shard.state for shard in self.shards]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    @property
    def resume(self) -> list[str]:
        """Shell commands that make stopped, failed and lost shards go on, or gather finished ones."""
        left = [shard.shard for shard in self.shards if shard.state in ("failed", "lost", "stopped")]
        if left and (self.directory / FOLDER / "array.sbatch").exists():
            return [resubmit_command(self.directory, left)]
        if left and self.plan is not None:
            return [self.plan.command(Shard(shard, self.shards[0].of)) for shard in left]
        ready = bool(self.shards) and all(shard.state == "complete" for shard in self.shards)
        return [f"tpsctl gather {shlex.quote(str(self.directory))}"] if ready and not self.gather else []

    def as_json(self) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "exit_code": self.exit_code,
            "outcome": self.outcome,
            "counts": self.counts,
            "batches": None if self.plan is None else self.plan.batches,
            "shards": [asdict(shard) for shard in self.shards],
            "gather": self.gather,
            "resume": self.resume,
            "notes": list(self.notes),
        }


def look(directory: Path) -> Overview:
    """Read the state of a run.

    Raises:
        RecipeError: There is no run in this directory.
    """
    directory = directory.resolve()
    manifest = read_manifest(directory)
    if manifest is not None:
        return Overview(directory, (), manifest["outcome"], "", (_counted(manifest),))
    recorded = {(record["shard"], record["of"]): record for record in _records(directory)}
    of = _number_of_shards(directory, list(recorded.values()))
    if of is None:
        raise RecipeError(
            f"{directory}: no run of tpsctl here. Expected manifest.json, or state/ of an unfinished run."
        )
    array, gather = (directory / FOLDER / name for name in ("array.sbatch", "gather.sbatch"))
    tasks, notes = _ask_slurm(directory, [array, gather])
    jobs = _latest(task for task in tasks or [] if Path(task.script) == array)
    shards = [
        judge(recorded.get((i, of)) or {"shard": i, "of": of}, jobs.get(i), slurm_answers=tasks is not None)
        for i in range(1, of + 1)
    ]
    last = _latest(task for task in tasks or [] if Path(task.script) == gather).get(None)
    logged = tuple(_with_log(shard, directory) for shard in shards)
    return Overview(directory, logged, None, in_words(last), notes, read_plan(directory))


def _counted(manifest: dict[str, Any]) -> str:
    return ", ".join(f"{manifest[name]} {name}" for name in ("requested", "produced", "converged", "valid"))


def _records(directory: Path) -> list[dict[str, Any]]:
    """All readable status files; a file that is being replaced or is damaged counts as none."""
    records = []
    for file in sorted((directory / "state" / "shards").glob("*/status.json")):
        try:
            records.append(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return records


def _number_of_shards(directory: Path, records: list[dict[str, Any]]) -> int | None:
    """Number of shards as the shard with the newest status says, else as the batch script says; it may change."""
    if records:
        return max(records, key=lambda record: record["updated"])["of"]
    script = directory / FOLDER / "array.sbatch"
    found = re.search(r"^shards=(\d+)", script.read_text(), re.MULTILINE) if script.exists() else None
    if found:
        return int(found[1])
    return 1 if (directory / "state").is_dir() else None


def _ask_slurm(directory: Path, scripts: list[Path]) -> tuple[list[Task] | None, tuple[str, ...]]:
    """Tasks of these scripts in the queue; None if there is no Slurm, or it does not answer."""
    if not scripts[0].exists() or not client.installed():
        return None, ()
    try:
        user = pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError:
        user = getpass.getuser()
    try:
        return client.tasks_of(scripts, user), ()
    except TpsctlError as error:
        return None, (f"Slurm did not answer: {str(error).splitlines()[0]}",)


def _latest(tasks: Iterable[Task]) -> dict[int | None, Task]:
    """The newest task of each array index: a shard may have been submitted more than once."""
    return {task.index: task for task in sorted(tasks, key=lambda task: task.job)}


def _with_log(shard: ShardReport, directory: Path) -> ShardReport:
    log = directory / FOLDER / f"shard_{shard.shard:04}.log"
    return replace(shard, log=str(log)) if log.exists() else shard

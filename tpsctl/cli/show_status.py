"""Prints the status of a run: a table, a summary, and the commands that continue the run."""

from tpsctl.console import print_table
from tpsctl.errors import ExitCode
from tpsctl.jobs.overview import Overview
from tpsctl.jobs.shard_report import ShardReport
from tpsctl.jobs.slurm.script import ranges


def show(overview: Overview) -> None:
    """Print the table, the summary, and the commands that continue the run."""
    if overview.outcome is not None:
        rows = [["outcome", overview.outcome], *(["paths", note] for note in overview.notes)]
        print_table(str(overview.directory), ["what", "found"], rows)
        return
    columns = ["shard", "state", "batches", "paths", "stage", "step", "mean\naction", "updated", "host", "job", "note"]
    rows = [_row(shard) for shard in overview.shards]
    print_table(str(overview.directory), columns, rows, notes=_summary(overview))


def _row(shard: ShardReport) -> list[str]:
    return [
        f"{shard.shard}/{shard.of}",
        shard.state,
        f"{shard.batches_done}/{len(shard.batches)}" if shard.batches else "-",
        f"{shard.paths_done}/{shard.paths}" if shard.paths else "-",
        shard.stage or "-",
        str(shard.step) if shard.step else "-",
        "-" if shard.action is None else f"{shard.action:.1f}",
        "-" if shard.silent_s is None else f"{_duration(shard.silent_s)} ago",
        shard.host or "-",
        (shard.job or "-") + (f" restart {shard.restart}" if shard.restart else ""),
        shard.note.partition("\n")[0],
    ]


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _summary(overview: Overview) -> list[str]:
    counts = ", ".join(f"{count} {state}" for state, count in overview.counts.items())
    batches = overview.plan.batches if overview.plan else sum(len(shard.batches) for shard in overview.shards)
    done = sum(shard.batches_done for shard in overview.shards)
    lines = [f"{len(overview.shards)} shards: {counts}; {done} of {batches} batches done"]
    lines += [f"gather job: {overview.gather}"] if overview.gather else []
    lines += overview.notes
    for state in ("failed", "lost", "stopped"):
        numbers = [shard.shard for shard in overview.shards if shard.state == state]
        logs = [shard.log for shard in overview.shards if shard.state == state and shard.log]
        if numbers:
            where = f"; see {logs[0]}" + (" and the like" if len(logs) > 1 else "") if logs else ""
            lines.append(f"{state}: shard {', '.join(ranges(numbers))}{where}")
    what = "after mending the cause, go on with:" if overview.exit_code == ExitCode.FAILED else "go on with:"
    return lines + ([what, *(f"  {command}" for command in overview.resume)] if overview.resume else [])

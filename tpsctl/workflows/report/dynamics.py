"""What dynamics says of a run's paths: sections of the report on committors and on an ensemble of transition paths."""

from typing import Any

from tpsctl.output.report import Evidence, IntervalChart, IntervalRow, ReportTable
from tpsctl.simulation.shooting.committor import HIGHEST, LOWEST
from tpsctl.workflows.report.numbers import number
from tpsctl.workflows.stored_run import StoredRun
from tpsctl.workflows.tube import MANIFEST as ENSEMBLE
from tpsctl.workflows.tube import StoredTube, shooting_manifest

COMMITTOR = "shooting/manifest.json"
"""What shooting leaves in a run."""

_ONE_VARIABLE = (
    "The ensemble does not test the path: only {name} turns between the ends, and paths are compared where they have "
    "turned equally far."
)

_ROLES = {
    "top": ", the top of the path",
    "neighbor": ", beside the top",
    "control": ", control",
    "straight line": ", control",
}


def committor_of(run: StoredRun) -> Evidence | None:
    """The committors of images near the top; None if the run has none of its present paths."""
    manifest = shooting_manifest(run, COMMITTOR)
    if manifest is None:
        return None
    starts, path = manifest["starts"], manifest["recipe"]["path"]
    chart = IntervalChart(
        "Chance to reach B before A (committor p_B)",
        [_committor_row(start) for start in starts],
        least=0.0,
        most=1.0,
        band=(LOWEST, HIGHEST),
        note=(
            f"Shaded: {LOWEST:g} to {HIGHEST:g}, where an image counts as part of the transition state. Lines are 95 % "
            "intervals (Wilson). Controls should lie outside."
        ),
        path=path,
    )
    return Evidence(
        "Committor: is the top the transition state?",
        manifest["verdict"],
        {"complete": True, "not_transition_state": False}.get(manifest["outcome"]),
        [
            f"Short simulations started at images of path {path} with random velocities, and were followed until they "
            f"arrived in A or in B: {manifest['dynamics']}. Of those from a true transition state, about half arrive "
            "in B first."
        ],
        [chart],
        [_shots(starts)],
    )


def replaced_shots(run: StoredRun) -> bool:
    """Whether there are shots or an ensemble of paths that are no longer those of the run."""
    return any(run.has(name) and shooting_manifest(run, name) is None for name in (COMMITTOR, ENSEMBLE))


def _committor_row(start: dict[str, Any]) -> IntervalRow:
    control = start["role"] in ("control", "straight line")
    arrived = start["to_a"] + start["to_b"]
    words = f"{start['p_b']:.2f} ({start['p_b_low']:.2f} to {start['p_b_high']:.2f}), " if arrived else "unknown, "
    name = start["start"]
    image = int(name.removeprefix("image ")) if name.startswith("image ") else None
    return IntervalRow(
        name + _ROLES.get(start["role"], ""),
        start["p_b"] if arrived else float("nan"),
        start["p_b_low"],
        start["p_b_high"],
        f"{words}{start['shots']} shots" + (f"; {start['verdict']}" if start["verdict"].startswith("not ") else ""),
        "control" if control else "own",
        image,
    )


def _shots(starts: list[dict[str, Any]]) -> ReportTable:
    columns = ("start", "shots", "to A", "to B", "to neither", "failed", "mean time (ps)", "verdict")
    rows = [
        (
            start["start"],
            *(str(start[name]) for name in ("shots", "to_a", "to_b", "to_neither", "failed")),
            number(start["mean_length_ps"], 2),
            start["verdict"],
        )
        for start in starts
    ]
    return ReportTable("All shots", columns, rows, closed=True)


def ensemble_of(tube: StoredTube | None) -> Evidence | None:
    """The ensemble of transition paths; None without one."""
    if tube is None:
        return None
    manifest, found = tube.manifest, tube.manifest["ensemble"]
    length, members = found["length_ps"], found["members"]
    farthest = max(members["high"], *(each["mean"] for each in found["distances"].values()))
    first = next(iter(found["distances"]))
    alone = len(tube.course.names) == 1
    rows = [
        IntervalRow(
            f"path {manifest['recipe']['path']} of this run" if name == first else f"{name}, control",
            each["mean"],
            each["mean"],
            each["mean"],
            f"{each['mean']:.2f}, at most {each['largest']:.2f}",
            "own" if name == first else "control",
        )
        for name, each in found["distances"].items()
    ]
    own = IntervalRow(
        "the ensemble's own paths",
        members["median"],
        members["low"],
        members["high"],
        f"median {members['median']:.2f}, 90 % of them {members['low']:.2f} to {members['high']:.2f}",
        "reference",
    )
    chart = IntervalChart(
        "Mean distance from the middle of the ensemble, in units of its spread",
        [rows[0], own, *rows[1:]],
        least=0.0,
        most=1.08 * farthest,
        band=(0.0, members["high"]),
        note="Shaded: the tube. A path lies in it if it is nearer than 95 % of the ensemble's own paths.",
    )
    return Evidence(
        "Ensemble: does the path run where dynamics runs?",
        _ONE_VARIABLE.format(name=tube.course.names[0]) if alone else manifest["verdict"],
        None if alone else manifest["outcome"] == "complete",
        [
            f"{found['accepted']} transition paths were accepted in {found['trials']} trials of two-way shooting: "
            f"{manifest['dynamics']}. They last {length['mean']:.2f} ± {length['deviation']:.2f} ps, "
            f"from {length['shortest']:.2f} to {length['longest']:.2f} ps.",
            "The figure “tube” of tpsctl plot shows them in their collective variables.",
        ],
        [chart],
        [_top(found["top"], angles=tube.course.angles)],
    )


def _top(top: dict[str, Any], *, angles: bool) -> ReportTable:
    unit, digits = ("°", 1) if angles else ("nm", 4)
    columns = ("variable", f"path ({unit})", f"mean of the ensemble ({unit})", f"standard deviation ({unit})")
    rows = [
        (name, *(number(values[key], digits) for key in ("path", "mean", "deviation"))) for name, values in top.items()
    ]
    return ReportTable("Where the ensemble has the progress of the path's top", columns, rows, closed=True)

"""`tpsctl report`: a finished run directory -> one HTML page."""

from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError
from tpsctl.files import write_text
from tpsctl.output.report import RunReport, report_html
from tpsctl.workflows.report.comparison import comparison_of
from tpsctl.workflows.report.dynamics import committor_of, ensemble_of, replaced_shots
from tpsctl.workflows.report.maps import maps_of
from tpsctl.workflows.report.numbers import number
from tpsctl.workflows.report.plots import action_of, ceiling_of_run, curves_of, frames_of
from tpsctl.workflows.report.tables import tables_of
from tpsctl.workflows.report.verdict import verdict_of
from tpsctl.workflows.report.words import words_of
from tpsctl.workflows.stored_run import StoredRun
from tpsctl.workflows.tube import stored_tube

NAME = "report.html"


def report_run(folder: Path, *, out: Path | None, density: Path | None, overwrite: bool) -> dict[str, Any]:
    """Write the report of a finished run; what was written, for the answer of the command.

    Args:
        folder: The run directory.
        out: The file; None for report.html in the run directory.
        density: A simulation of the same atoms, whose free energy lies behind the paths; None for none.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        RecipeError: There is no finished run, a file of it is missing or damaged, or a density does not fit it.
        OutputError: The file is there already, or cannot be written.
        EndpointError: The simulation cannot be read or has other atoms.
        DataError: A data set is damaged.
        MissingDependencyError: deeptime, which finds slow coordinates, is not installed.
    """
    run = StoredRun.read(folder)
    file = out or folder / NAME
    if file.exists() and not overwrite:
        raise OutputError(f"{file}: is there already. Replace it with --overwrite, or choose another file with --out.")
    text = report_html(report_of(run, density))
    write_text(file, text)
    return {"file": str(file), "bytes": len(text.encode()), "outcome": run.manifest["outcome"]}


def write_report(run: StoredRun) -> None:
    """Write report.html beside all other files of a finished run."""
    write_text(run.directory / NAME, report_html(report_of(run)))


def report_of(run: StoredRun, density: Path | None = None) -> RunReport:
    """Everything that the report of a run shows, over the density of a simulation if one is named."""
    curves, label = curves_of(run)
    frames, frames_note = frames_of(run) if run.entries else (None, "")
    tube = stored_tube(run) if run.entries else None
    dynamics = [part for part in (committor_of(run), ensemble_of(tube), comparison_of(run)) if part is not None]
    maps = maps_of(run, density, tube)
    return RunReport(
        name=run.manifest["name"],
        verdict=verdict_of(run.manifest, dynamics, replaced=replaced_shots(run)),
        facts=_facts(run.manifest),
        curves=curves,
        distance_label=label,
        ceiling=ceiling_of_run(run),
        panels=maps.panels,
        panels_note=maps.note,
        action=action_of(run) if run.entries else None,
        planes=maps.planes,
        frames=frames,
        frames_note=frames_note,
        tables=list(tables_of(run)),
        evidence=dynamics,
        words=words_of(run.manifest, dynamics),
    )


def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """The numbers that a reader looks for first."""
    facts = [("paths", f"{manifest['valid']} of {manifest['produced']} valid")]
    if routes := manifest.get("routes"):
        facts = [
            ("routes", str(len(routes))),
            ("barrier A→B", f"{number(routes[0]['forward'], 2)} kJ/mol"),
            ("barrier B→A", f"{number(routes[0]['backward'], 2)} kJ/mol"),
            ("found", f"{routes[0]['times_found']} times"),
            ("share of the flux", f"{100 * routes[0]['flux_share']:.1f} %"),
            ("rate A→B", f"{manifest['kinetics']['rate_forward_per_s']:.2g} per s"),
        ]
    elif best := _best(manifest["paths"]):
        facts += [
            ("converged", f"{manifest['converged']} of {manifest['produced']}"),
            ("lowest barrier A→B", f"{number(best['barrier_forward_kj_per_mol'], 2)} kJ/mol"),
            ("its barrier B→A", f"{number(best['barrier_backward_kj_per_mol'], 2)} kJ/mol"),
        ]
    return [*facts, ("work", f"{manifest['seconds']['total']:.0f} s")]


def _best(paths: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The energies of the valid path with the lowest barrier, minimized ones if there are any."""
    profiles = [entry.get("minimized") or entry.get("raw") for entry in paths if entry["gate"] == "valid"]
    known = [p for p in profiles if p is not None and p["barrier_forward_kj_per_mol"] is not None]
    return min(known, key=lambda profile: profile["barrier_forward_kj_per_mol"], default=None)

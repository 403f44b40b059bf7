"""`tpsctl report`: a finished run directory -> one HTML page."""

from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError
from tpsctl.files import write_text
from tpsctl.output.report import RunReport, report_html
from tpsctl.workflows.report.plots import (
    action_of,
    ceiling_of_run,
    curves_of,
    frames_of,
    panels_of,
    plane_of,
)
from tpsctl.workflows.report.tables import number, tables_of
from tpsctl.workflows.report.verdict import verdict_of
from tpsctl.workflows.stored_run import StoredRun

NAME = "report.html"


def report_run(folder: Path, *, out: Path | None, overwrite: bool) -> dict[str, Any]:
    """Write the report of a finished run; what was written, for the answer of the command.

    Args:
        folder: The run directory.
        out: The file; None for report.html in the run directory.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        RecipeError: There is no finished run, or a file of it is missing or damaged.
        OutputError: The file is there already, or cannot be written.
    """
    run = StoredRun.read(folder)
    file = out or folder / NAME
    if file.exists() and not overwrite:
        raise OutputError(f"{file}: is there already. Replace it with --overwrite, or choose another file with --out.")
    text = report_html(report_of(run))
    write_text(file, text)
    return {"file": str(file), "bytes": len(text.encode()), "outcome": run.manifest["outcome"]}


def write_report(run: StoredRun) -> None:
    """Write report.html beside all other files of a finished run."""
    write_text(run.directory / NAME, report_html(report_of(run)))


def report_of(run: StoredRun) -> RunReport:
    """Everything that the report of a run shows."""
    curves, label = curves_of(run)
    panels, panels_note = panels_of(run) if run.entries else ([], "")
    frames, frames_note = frames_of(run) if run.entries else (None, "")
    return RunReport(
        name=run.manifest["name"],
        verdict=verdict_of(run.manifest, committor=run.committor),
        facts=_facts(run.manifest),
        curves=curves,
        distance_label=label,
        ceiling=ceiling_of_run(run),
        panels=panels,
        panels_note=panels_note,
        action=action_of(run) if run.entries else None,
        plane=plane_of(run),
        frames=frames,
        frames_note=frames_note,
        tables=list(tables_of(run)),
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

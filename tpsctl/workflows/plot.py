"""The figures of a finished run, drawn from its files: by `tpsctl sample` at the end, and again by `tpsctl plot`."""

from math import radians
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tpsctl.errors import OutputError
from tpsctl.molecule.torsions import AngleCourse, turning_angles
from tpsctl.output import figures
from tpsctl.output.figures import Background
from tpsctl.workflows.density import Density, ramachandran_backgrounds, read_density, slow_map
from tpsctl.workflows.stored_run import StoredRun
from tpsctl.workflows.tube import stored_tube

FOLDER = "figures"

OMEGA_TURN_DEG = 60.0
"""A peptide bond whose omega changes by more than this along a path turns, and has a figure."""

MOST_ROWS = 8
"""Most paths in the figure of peptide bonds that turn."""


def plot_run(folder: Path, *, out: Path | None, density: Path | None, overwrite: bool) -> dict[str, Any]:
    """Draw the figures of a finished run again; what was drawn, for the answer of the command.

    Args:
        folder: The run directory.
        out: Folder of the figures; None for `figures` in the run directory.
        density: A simulation of the same atoms, whose free energy lies behind the paths; None for none.
        overwrite: Whether figures that are there may be replaced.

    Raises:
        RecipeError: There is no finished run, it has no paths, or a file of it is missing or damaged.
        OutputError: Figures are there already, or a file cannot be written.
        EndpointError: The simulation cannot be read or has other atoms.
        DataError: A data set is damaged.
        MissingDependencyError: deeptime, which finds slow coordinates, is not installed.
    """
    run = StoredRun.read(folder)
    run.require_paths()
    place = out or folder / FOLDER
    if place.is_dir() and any(place.iterdir()) and not overwrite:
        raise OutputError(f"{place}: holds files already. Replace figures with --overwrite, or choose --out.")
    files = draw_figures(run, place, density=density)
    return {"folder": str(place), "figures": sorted({file.stem for file in files}), "files": len(files)}


def draw_figures(run: StoredRun, folder: Path, *, density: Path | None = None) -> list[Path]:
    """Draw every figure that the run has something for; the files."""
    found = None if density is None else read_density(run, density)
    backgrounds = {} if found is None else ramachandran_backgrounds(run, found)
    files = [*_energies(run, folder), *_ramachandrans(run, folder, backgrounds)]
    if found is not None and not backgrounds:
        files += _slow_coordinates(run, folder, found)
    files += _tube(run, folder)
    if "routes" in run.manifest:
        return files + _routes(run, folder)
    return files + _omegas(run, folder) + _action(run, folder) + _contour(run, folder)


def _title(run: StoredRun) -> str:
    return run.manifest["name"]


def _groups(run: StoredRun) -> list[int] | None:
    """The route or channel of every path; None where only one is there."""
    groups = run.groups.tolist()
    return groups if len(set(groups)) > 1 else None


def _energies(run: StoredRun, folder: Path) -> list[Path]:
    above = {kind: torch.from_numpy(energy) for kind, energy in run.images.energies().items()}
    if not above:
        return []
    word = "route" if "routes" in run.manifest else "channel"
    return figures.energy_profile(
        folder / "energy", above, title=_title(run), groups=_groups(run), group_word=word, valid=run.valid
    )


def _ramachandrans(run: StoredRun, folder: Path, backgrounds: dict[str, Background]) -> list[Path]:
    """A Ramachandran plot for every residue with phi and psi."""
    angles, files = run.images.dihedrals_deg(), []
    raw = run.images.energies().get("raw")
    for name, phi in angles.items():
        residue = name.removeprefix("phi_")
        if name == f"phi_{residue}" and f"psi_{residue}" in angles:
            files += figures.ramachandran(
                folder / f"ramachandran_{residue}",
                torch.from_numpy(phi).deg2rad(),
                torch.from_numpy(angles[f"psi_{residue}"]).deg2rad(),
                title=f"{_title(run)}, {residue.upper()}",
                above_start=None if raw is None else torch.from_numpy(raw),
                background=backgrounds.get(residue),
                groups=_groups(run),
                valid=run.valid,
            )
    return files


def _slow_coordinates(run: StoredRun, folder: Path, density: Density) -> list[Path]:
    """The paths over the two slowest coordinates of a simulation."""
    found, raw = slow_map(run, density), run.images.energies().get("raw")
    return figures.slow_coordinates(
        folder / "slow_coordinates",
        found.x,
        found.y,
        found.background,
        title=_title(run),
        above_start=raw,
        groups=_groups(run),
        valid=run.valid,
    )


def _tube(run: StoredRun, folder: Path) -> list[Path]:
    found = stored_tube(run)
    return [] if found is None else figures.tube(folder / "tube", found.course, title=_title(run))


def _omegas(run: StoredRun, folder: Path) -> list[Path]:
    """The peptide bonds that turn along a path, one row per path on which one does."""
    angles = {name: values for name, values in run.images.dihedrals_deg().items() if name.startswith("omega_")}
    turns = {name: np.ptp(np.unwrap(values, period=360.0, axis=1), axis=1) for name, values in angles.items()}
    turning = [name for name, turn in turns.items() if np.nan_to_num(turn).max() > OMEGA_TURN_DEG]
    shown = [k for k in range(len(run.entries)) if any(turns[name][k] > OMEGA_TURN_DEG for name in turning)]
    if not shown:
        return []
    length = run.images.distances()
    rows = [
        figures.RouteTorsions(
            f"path {run.entries[k]['path']}" + ("" if run.valid[k] else " (not valid)"),
            torch.from_numpy(length[k]),
            {_label(name): torch.from_numpy(angles[name][k]).deg2rad() for name in turning},
        )
        for k in shown[:MOST_ROWS]
    ]
    return figures.torsions(folder / "omega", rows, title=_title(run), distance="distance along the path (nm)")


def _label(name: str) -> str:
    kind, _, residue = name.partition("_")
    return f"{kind} {residue.upper()}"


def _action(run: StoredRun, folder: Path) -> list[Path]:
    if not run.has("steps.csv"):
        return []
    table, n_paths = run.table("steps.csv"), len(run.entries)
    steps, stage = table.numbers("step")[::n_paths].astype(int).tolist(), table.cells("stage")[::n_paths]
    values = {
        name: torch.from_numpy(table.numbers(name).reshape(-1, n_paths))
        for name in table.columns
        if name not in ("step", "stage", "path")
    }
    shown = {name: value for name, value in values.items() if name == "total" or bool((value != 0).any())}
    stages = [(steps[k], name) for k, name in enumerate(stage) if not k or name != stage[k - 1]]
    return figures.action_history(folder / "action", steps, shown, title=_title(run), stages=stages)


def _contour(run: StoredRun, folder: Path) -> list[Path]:
    potential = run.potential() if run.n_dims == 2 else None
    if potential is None or not run.has_trajectories:
        return []
    return figures.contour(folder / "contour", run.paths, potential, title=_title(run))


def _routes(run: StoredRun, folder: Path) -> list[Path]:
    """Energies and torsions along the routes, and the disconnectivity graph."""
    length, level = run.images.values("arc_length_sqrt_amu_nm"), run.images.values("landscape_energy_kj_per_mol")
    assert length is not None
    assert level is not None
    routes, title = run.manifest["routes"], _title(run)
    names = [f"route {k}: {level[k].max():.1f} kJ/mol" for k in range(len(routes))]
    arcs = [torch.from_numpy(length[k]) for k in range(len(routes))]
    profiles = [
        figures.RouteProfile(name, arcs[k], torch.from_numpy(level[k]), *run.images.stationary(k))
        for k, name in enumerate(names)
    ]
    files = figures.arc_length(folder / "routes", profiles, title=title)
    if run.has_trajectories:
        courses = _turning(run)
        rows = [
            figures.RouteTorsions(
                name, arcs[k], {course.name: course.values[k] for course in courses}, *run.images.stationary(k)
            )
            for k, name in enumerate(names)
        ]
        files += figures.torsions(folder / "torsions", rows, title=title)
    return files + _network(run, folder, names)


def _turning(run: StoredRun) -> list[AngleCourse]:
    """The angles that turn along the routes; omega only where it turns from cis to trans, or nearly."""
    found = turning_angles(run.topology, list(run.paths))
    least = radians(OMEGA_TURN_DEG)
    return [each for each in found if not each.name.startswith("omega") or each.turn_rad > least] or found


def _network(run: StoredRun, folder: Path, names: list[str]) -> list[Path]:
    minima, saddles = run.table("minima.csv"), run.table("saddles.csv")
    marks = [
        figures.RouteMarks(name, tuple(route["minima"]), tuple(route["saddles"]))
        for name, route in zip(names, run.manifest["routes"], strict=True)
    ]
    joined = zip(
        saddles.numbers("minimum_1").astype(int).tolist(),
        saddles.numbers("minimum_2").astype(int).tolist(),
        saddles.numbers("energy_above_start_kj_per_mol").tolist(),
        strict=True,
    )
    ends = (minima.cells("end").index("A"), minima.cells("end").index("B"))
    above = minima.numbers("energy_above_start_kj_per_mol").tolist()
    return figures.disconnectivity(folder / "network", above, list(joined), *ends, marks, title=_title(run))

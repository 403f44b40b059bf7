"""The figures of a finished run, drawn from its files: by `tpsctl sample` at the end, and again by `tpsctl plot`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tpsctl.errors import OutputError, RecipeError
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.torsions import turning_angles
from tpsctl.output import figures
from tpsctl.output.figures import Background
from tpsctl.units import thermal_energy
from tpsctl.workflows.stored_run import StoredRun

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
        density: A trajectory of the same atoms, whose density lies behind the Ramachandran plots; None for none.
        overwrite: Whether figures that are there may be replaced.

    Raises:
        RecipeError: There is no finished run, it has no paths, or a file of it is missing or damaged.
        OutputError: Figures are there already, or a file cannot be written.
        EndpointError: The trajectory cannot be read or has other atoms.
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
    backgrounds = {} if density is None else _backgrounds(run, density)
    files = [*_energies(run, folder), *_ramachandrans(run, folder, backgrounds)]
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


def _backgrounds(run: StoredRun, density: Path) -> dict[str, Background]:
    """Free energies of the frames of a trajectory in the plane of every residue's phi and psi."""
    from tpsctl.endpoints.load import load_ensemble

    if not run.is_molecule or not run.topology.backbone_dihedrals:
        raise RecipeError(f"{density}: a density needs a peptide with phi and psi; this run has none. Leave it out.")
    _, (x,) = load_ensemble([density], topology=run.topology_file)
    labels, atoms = zip(*run.topology.backbone_dihedrals, strict=True)
    values = dihedral(x, torch.tensor(atoms)).rad2deg().numpy()
    by_name = {"_".join(label.lower().split()): values[:, k] for k, label in enumerate(labels)}
    kT = thermal_energy(run.temperature_k)
    return {
        name.removeprefix("phi_"): Background.of_frames(phi, by_name[name.replace("phi_", "psi_", 1)], kT=kT)
        for name, phi in by_name.items()
        if name.startswith("phi_") and name.replace("phi_", "psi_", 1) in by_name
    }


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
        courses = turning_angles(run.topology, list(run.paths))
        rows = [
            figures.RouteTorsions(
                name, arcs[k], {course.name: course.values[k] for course in courses}, *run.images.stationary(k)
            )
            for k, name in enumerate(names)
        ]
        files += figures.torsions(folder / "torsions", rows, title=title)
    return files + _network(run, folder, names)


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

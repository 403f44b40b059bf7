"""The curves, planes and structures of a report, from the files of a run."""

import numpy as np
import torch
from jaxtyping import Float

from tpsctl.errors import TpsctlError
from tpsctl.output.figures.canvas import as_array, ceiling_of
from tpsctl.output.report import ActionCourse, PackedFrames, PathCurve, PlaneMap, RamachandranPanel, pack_frames
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.stored_run import StoredRun

MOST_PANELS = 6
"""Most Ramachandran plots; of a longer chain, the residues that turn most."""

MOST_STEPS = 300
"""Most optimizer steps in the plot of the action."""

_GRID = 60


def curves_of(run: StoredRun) -> tuple[list[PathCurve], str]:
    """The energies along all paths, and what the distance along them is."""
    if not run.entries:
        return [], ""
    distance = run.images.distances()
    label = "arc length (√amu nm)" if run.images.has_arc_length else "distance along the path (nm)"
    energies = run.images.energies()
    level = run.images.values("landscape_energy_kj_per_mol")
    if level is not None:
        energies = {"landscape searched": level - level[:, :1], **energies}
    groups = run.groups
    curves = [
        PathCurve(
            name=_name(run, k),
            group=int(groups[k]),
            group_name=_name(run, k) if "routes" in run.manifest else f"channel {groups[k]}",
            valid=run.valid[k],
            distance=distance[k],
            energies={kind: energy[k] for kind, energy in energies.items()},
        )
        for k in range(len(run.entries))
    ]
    return curves, label


def ceiling_of_run(run: StoredRun) -> float:
    """Upper end of the energy axis, kJ/mol: the highest energy of all paths that are not broken."""
    return max((ceiling_of(energy) for energy in run.images.energies().values()), default=1.0)


def _name(run: StoredRun, k: int) -> str:
    if "routes" in run.manifest:
        return f"route {k}: {run.manifest['routes'][k]['forward']:.1f} kJ/mol"
    channel = run.entries[k].get("channel")
    return f"path {run.entries[k]['path']}" + ("" if channel is None else f", channel {channel}")


def panels_of(run: StoredRun) -> tuple[list[RamachandranPanel], str]:
    """A Ramachandran plot for the residues that turn most, in the order of the chain; a sentence on the others."""
    angles = run.images.dihedrals_deg()
    residues = [name.removeprefix("phi_") for name in angles if name.startswith("phi_")]
    residues = [residue for residue in residues if f"psi_{residue}" in angles]
    turns = {r: max(_turn(angles[f"phi_{r}"]), _turn(angles[f"psi_{r}"])) for r in residues}
    chosen = sorted(residues, key=lambda residue: -turns[residue])[:MOST_PANELS]
    panels = [RamachandranPanel(_shown(r), angles[f"phi_{r}"], angles[f"psi_{r}"]) for r in residues if r in chosen]
    left = len(residues) - len(panels)
    note = f"The {left} other residues turn less; their dihedrals are in images.csv." if left else ""
    return panels, note


def _shown(residue: str) -> str:
    return residue.upper().replace("_", " ")


def _turn(angle: Float[np.ndarray, "path image"]) -> float:
    """Largest range of an angle along one path, followed over the edge, degrees."""
    followed = np.unwrap(np.nan_to_num(angle), period=360.0, axis=1)
    return float(np.ptp(followed, axis=1).max())


def action_of(run: StoredRun) -> ActionCourse | None:
    """The action against the step; None for a run without such a table."""
    if not run.has("steps.csv"):
        return None
    table, n_paths = run.table("steps.csv"), len(run.entries)
    steps, stage = table.numbers("step").astype(int), table.cells("stage")
    names = [name for name in table.columns if name not in ("step", "stage", "path")]
    values = {name: table.numbers(name).reshape(-1, n_paths) for name in names}
    own = steps.reshape(-1, n_paths)[:, 0]
    of_step = stage[::n_paths]
    stages = [(int(own[k]), name) for k, name in enumerate(of_step) if not k or name != of_step[k - 1]]
    shown = np.unique(np.linspace(0, len(own) - 1, min(len(own), MOST_STEPS)).round().astype(int))
    terms = {name: v for name, v in values.items() if name != "total" and np.nan_to_num(v).any()}
    medians = {name: _median(v[shown]) for name, v in terms.items()}
    return ActionCourse(own[shown], stages, values["total"][shown], medians)


def _median(values: Float[np.ndarray, "step path"]) -> Float[np.ndarray, " step"]:
    """Median over the paths whose value is known."""
    return np.ma.median(np.ma.masked_invalid(values), axis=1).filled(np.nan)


def plane_of(run: StoredRun) -> PlaneMap | None:
    """The paths of a two-dimensional model system, on its potential if that is known."""
    if run.n_dims != 2 or not run.has_trajectories:
        return None
    x, y = run.paths[:, :, 0].numpy().transpose(2, 0, 1)
    potential = run.potential()
    if potential is None:
        return PlaneMap(x, y)
    grid_x, grid_y = (np.linspace(*_widened(values), _GRID) for values in (x, y))
    points = torch.from_numpy(np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 1, 2))
    with torch.no_grad():
        energy = as_array(potential(points))
    return PlaneMap(x, y, grid_x, grid_y, energy.reshape(_GRID, _GRID))


def _widened(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    extra = 0.25 * max(high - low, 1e-6)
    return low - extra, high + extra


def frames_of(run: StoredRun) -> tuple[PackedFrames | None, str]:
    """The structures for the viewer; or none, with the reason in a sentence."""
    if not run.is_molecule:
        return None, "A model system has no structure to show."
    if not run.has_trajectories:
        return None, "The run has no trajectory files (output.trajectories), so the structures are not shown."
    try:
        topology, x = run.topology, run.paths.numpy() / NM_PER_ANGSTROM
    except TpsctlError as error:
        return None, f"The structures cannot be shown: {error}"
    beads = all(atom.name == "CA" for atom in topology.atoms) or not all(atom.element for atom in topology.atoms)
    packed = pack_frames(topology, x, beads=beads)
    return (
        packed,
        "" if packed.stride == 1 else f"To keep this file small, the viewer holds every {_nth(packed.stride)} image.",
    )


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")

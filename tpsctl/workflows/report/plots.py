"""The curves and structures of a report, from the files of a run."""

import numpy as np
from jaxtyping import Float

from tpsctl.errors import TpsctlError
from tpsctl.output.figures.canvas import ceiling_of
from tpsctl.output.report import ActionCourse, PackedFrames, PathCurve, pack_frames
from tpsctl.units import NM_PER_ANGSTROM
from tpsctl.workflows.stored_run import StoredRun

MOST_STEPS = 300
"""Most optimizer steps in the plot of the action."""


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

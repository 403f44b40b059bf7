"""OpenPathSampling: a path with velocities, and the Python lines that make an initial trajectory of it."""

from pathlib import Path

import numpy as np

from tpsctl.files import write_text
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.exports.structures import write_structures

_LOADER = '''\
"""Makes initial trajectories for OpenPathSampling of the files beside this one.

    from load import load_path
    trajectory = load_path(0)                       # engine snapshots with positions and velocities
    sample_set = network.initial_conditions_from_trajectories(trajectory)    # of the move scheme or network in use
"""

from pathlib import Path

import mdtraj
import numpy as np
from openpathsampling.engines.openmm import tools

HERE = Path(__file__).parent


def load_path(number):
    """The path of this number as an openpathsampling.Trajectory; lengths in nm, velocities in nm/ps."""
    topology = mdtraj.load(str(next(HERE.glob("topology.*"))), standard_names=False).topology
    stored = np.load(HERE / f"path_{number:04d}.npz")
    frames = mdtraj.Trajectory(stored["positions_nm"], topology, time=stored["times_ps"])
    return tools.trajectory_from_mdtraj(frames, velocities=stored["velocities_nm_per_ps"])
'''


class OpenPathSamplingExport(Export):
    """NumPy arrays and a loader."""

    name = "openpathsampling"
    help = (
        "load.py makes openpathsampling.Trajectory objects of the arrays. Velocities are drawn from the "
        "Maxwell-Boltzmann distribution for every image alone, so shoot from here with new velocities, and discard the "
        "first accepted paths: the path itself is a path of least action, and no trajectory of the dynamics."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        write_structures(folder / "topology", path, slice(1))
        np.savez(
            folder / f"{path.stem}.npz",
            positions_nm=path.x.numpy(),
            velocities_nm_per_ps=path.velocities.numpy(),
            times_ps=np.array(path.times_ps, dtype=float),
        )
        write_text(folder / "load.py", _LOADER)

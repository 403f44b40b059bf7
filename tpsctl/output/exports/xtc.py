"""XTC: GROMACS' compressed trajectory, with topology.pdb beside it."""

from pathlib import Path

import numpy as np

from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.exports.structures import write_structures


class XtcExport(Export):
    """XTC with a topology."""

    name = "xtc"
    help = (
        "XTC rounds positions to 0.001 nm; it has no box, so read it as a molecule in vacuum. topology.pdb names the "
        "atoms."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        write_structures(folder / "topology", path, slice(1))
        write_xtc(folder / f"{path.stem}.xtc", path)


def write_xtc(file: Path, path: ExportedPath) -> None:
    """Write all images, nm, with their times, ps, and a box of zeros."""
    from mdtraj.formats import XTCTrajectoryFile

    with XTCTrajectoryFile(str(file), "w") as out:
        out.write(
            path.x.numpy().astype(np.float32),
            time=np.array(path.times_ps, dtype=np.float32),
            step=np.arange(len(path.x), dtype=np.int32),
            box=np.zeros((len(path.x), 3, 3), dtype=np.float32),
        )

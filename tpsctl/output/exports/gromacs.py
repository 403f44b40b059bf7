"""GROMACS: one GRO file of the first image, and TRR (positions, velocities) and XTC (positions) of all images."""

from pathlib import Path

import numpy as np

from tpsctl.files import write_text
from tpsctl.output.exports.base import Export, ExportedPath
from tpsctl.output.exports.trr import write_trr
from tpsctl.output.exports.xtc import write_xtc

_MOST = 100_000
"""Numbers of residues and atoms in a GRO file have five digits, and begin anew at 0."""


class GromacsExport(Export):
    """GRO, TRR and XTC."""

    name = "gromacs"
    help = (
        "Lengths are nm, velocities nm/ps. There is no box (all zeros): use pbc = no with a vacuum setup, or "
        "put a box around the molecule with gmx editconf. TRR has double precision; GRO and XTC round to 0.001 nm."
    )

    def write(self, folder: Path, path: ExportedPath) -> None:
        write_text(folder / f"{path.stem}.gro", gro_text(path))
        write_trr(
            folder / f"{path.stem}.trr", path.x.numpy(), path.velocities.numpy(), np.array(path.times_ps, dtype=float)
        )
        write_xtc(folder / f"{path.stem}.xtc", path)


def gro_text(path: ExportedPath) -> str:
    """The first image with its velocities in GRO format."""
    lines = [f"{path.title}, t= 0.00000", f"{path.topology.n_atoms:5d}"]
    rows = zip(path.topology.atoms, path.x[0].tolist(), path.velocities[0].tolist(), strict=True)
    for number, (atom, x, v) in enumerate(rows, start=1):
        names = f"{atom.residue_id % _MOST:5d}{atom.residue_name[:5]:<5}{atom.name[:5]:>5}{number % _MOST:5d}"
        lines.append(names + "".join(f"{value:8.3f}" for value in x) + "".join(f"{value:8.4f}" for value in v))
    return "\n".join([*lines, f"{0:10.5f}{0:10.5f}{0:10.5f}", ""])

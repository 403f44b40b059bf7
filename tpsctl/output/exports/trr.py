"""GROMACS TRR files in double precision, with positions and velocities.

A frame is a header of big-endian XDR integers (magic number, version, sizes of the blocks in bytes, number of atoms,
step), time and lambda, and then the blocks box, positions and velocities, in nm and nm/ps. The format is that of
GROMACS' trnio; MDTraj and MDAnalysis read it.
"""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

_MAGIC = 1993
_VERSION = b"GMX_trn_file"
_DOUBLE = 8


def write_trr(
    file: Path,
    x_nm: Float[np.ndarray, "frame atom 3"],
    velocities_nm_per_ps: Float[np.ndarray, "frame atom 3"],
    times_ps: Float[np.ndarray, " frame"],
) -> None:
    """Write all frames with a box of zeros, which means that there is none."""
    n_atoms = x_nm.shape[1]
    block = 3 * n_atoms * _DOUBLE
    with file.open("wb") as out:
        for step, (x, v, t) in enumerate(zip(x_nm, velocities_nm_per_ps, times_ps, strict=True)):
            out.write(struct.pack(">iii", _MAGIC, len(_VERSION) + 1, len(_VERSION)) + _VERSION)
            # sizes of: input record, energies, box, virial, pressure, topology, symmetry, positions, velocities, forces
            out.write(struct.pack(">10i", 0, 0, 9 * _DOUBLE, 0, 0, 0, 0, block, block, 0))
            out.write(struct.pack(">iii", n_atoms, step, 0))
            out.write(struct.pack(">dd", t, 0.0))
            out.write(bytes(9 * _DOUBLE) + x.astype(">f8").tobytes() + v.astype(">f8").tobytes())

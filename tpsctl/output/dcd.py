"""DCD trajectories with a correct header: CHARMM flavor, little-endian, float32 angstrom, no unit cell.

A DCD file is a sequence of Fortran records (byte count, data, byte count): "CORD" with twenty integers,
titles, the number of atoms, then x, y and z of each frame. Time is not stored per frame: readers take
(first step + frame * NSAVC) * DELTA with DELTA in AKMA units, so DELTA carries the step between images.
"""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tpsctl.errors import OutputError

_PS_PER_AKMA = 0.04888821
"""CHARMM's unit of time, sqrt(amu angstrom^2 / (kcal/mol)), in ps."""
_CHARMM_VERSION = 24
_TITLE_WIDTH = 80


def write_dcd(file: Path, x_angstrom: Float[np.ndarray, "frame atom 3"], *, dt_ps: float, title: str) -> None:
    """Write all frames; frame i has the time i * dt_ps.

    Args:
        file: The file, overwritten if it exists.
        x_angstrom: Positions, angstrom.
        dt_ps: Time between frames, ps.
        title: Title, which is broken into lines of 80 characters.
    """
    n_frames, n_atoms, _ = x_angstrom.shape
    control = [0] * 20
    control[0], control[2], control[3] = n_frames, 1, n_frames  # frames, steps between them (NSAVC), steps in all
    control[19] = _CHARMM_VERSION
    integers = struct.pack("<9i", *control[:9]) + struct.pack("<f", dt_ps / _PS_PER_AKMA)
    header = b"CORD" + integers + struct.pack("<10i", *control[10:])
    titles = [title[i : i + _TITLE_WIDTH] for i in range(0, len(title), _TITLE_WIDTH)]
    text = "".join(line.ljust(_TITLE_WIDTH) for line in titles).encode("ascii", "replace")
    with file.open("wb") as out:
        out.write(_record(header))
        out.write(_record(struct.pack("<i", len(titles)) + text))
        out.write(_record(struct.pack("<i", n_atoms)))
        for frame in x_angstrom.astype("<f4"):
            out.write(b"".join(_record(axis.tobytes()) for axis in frame.T))


def read_dcd(file: Path) -> Float[np.ndarray, "frame atom 3"]:
    """Read the positions, angstrom, of a file that `write_dcd` wrote.

    Raises:
        OutputError: The two byte counts of a record differ.
    """
    data = file.read_bytes()
    records, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<i", data, at)
        record = data[at + 4 : at + 4 + size]
        if data[at : at + 4] != data[at + 4 + size : at + 8 + size]:
            raise OutputError(f"{file}: damaged at byte {at}.")
        records.append(record)
        at += size + 8
    axes = np.array([np.frombuffer(record, "<f4") for record in records[3:]])
    return axes.reshape(-1, 3, axes.shape[-1]).transpose(0, 2, 1)


def _record(data: bytes) -> bytes:
    size = struct.pack("<i", len(data))
    return size + data + size

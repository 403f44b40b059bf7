"""GRO files of GROMACS: columns of five characters for numbers and names, then coordinates in nm.

The number of decimals may vary; the distance between two decimal points gives the width of a coordinate. A file
may hold several frames, one after the other. The format has no chains and no elements.
"""

import re
from pathlib import Path

import numpy as np

from tpsctl.endpoints.contents import Contents, FileAtom
from tpsctl.endpoints.text import lines_of
from tpsctl.errors import EndpointError


def read_gro_file(path: Path, text: str) -> Contents:
    """Read all frames of a GRO file.

    Raises:
        EndpointError: A line cannot be read (the message has its number), or the frames have different atoms.
    """
    lines = lines_of(text)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return Contents((), np.empty((0, 0, 3)))
    atoms: tuple[FileAtom, ...] = ()
    frames: list[list[list[float]]] = []
    box, start = None, 0
    while start < len(lines):
        count = _count(path, lines, start)
        body = lines[start + 2 : start + 2 + count]
        if len(body) < count:
            raise _wrong(path, start + 2, f"{count} atoms are announced, {len(body)} lines follow")
        found = tuple(_atom(path, start + 3 + k, line) for k, line in enumerate(body))
        if frames and found != atoms:
            raise _wrong(path, start + 1, "this frame has other atoms than the first")
        if not frames:
            atoms = found
            box = _box(lines[start + 2 + count]) if start + 2 + count < len(lines) else None
        frames.append([_position(path, start + 3 + k, line) for k, line in enumerate(body)])
        start += count + 3
    return Contents(atoms, np.array(frames, dtype=np.float64).reshape(-1, len(atoms), 3), box_nm=box)


def _count(path: Path, lines: list[str], start: int) -> int:
    if start + 1 >= len(lines) or not re.fullmatch(r"\s*\d{1,9}\s*", lines[start + 1], re.ASCII):
        found = lines[start + 1].strip()[:40] if start + 1 < len(lines) else ""
        raise _wrong(path, start + 2, f'expected the number of atoms, found "{found}"')
    return int(lines[start + 1])


def _atom(path: Path, number: int, line: str) -> FileAtom:
    field, name = line[:5].strip(), line[10:15].strip()
    if not re.fullmatch(r"[-+]?\d+", field, re.ASCII):
        raise _wrong(path, number, f'"{field}" in columns 1 to 5 is no residue number')
    if not name:
        raise _wrong(path, number, "the atom has no name in columns 11 to 15")
    return FileAtom(name, line[5:10].strip(), int(field))


def _position(path: Path, number: int, line: str) -> list[float]:
    first = line.find(".", 20)
    width = line.find(".", first + 1) - first
    try:
        if first < 0 or width < 2 or len(line) < 20 + 3 * width or "_" in line[20 : 20 + 3 * width]:
            raise ValueError
        return [float(line[20 + k * width : 20 + (k + 1) * width]) for k in range(3)]
    except ValueError:
        raise _wrong(path, number, f'"{line[20:60].strip()}" holds no three coordinates') from None


def _box(line: str) -> np.ndarray | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(values) not in (3, 9) or not np.isfinite(values).all() or min(values[:3]) < 0.2:
        return None
    xx, yy, zz, xy, xz, yx, yz, zx, zy = (*values, *[0.0] * (9 - len(values)))
    return np.array([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])


def _wrong(path: Path, number: int, reason: str) -> EndpointError:
    return EndpointError(f"{path}:{number}: cannot be read: {reason}. Expected a GRO file as GROMACS writes it.")

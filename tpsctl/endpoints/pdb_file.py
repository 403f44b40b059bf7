"""PDB files, read column by column.

There are few columns, but every program deviates from them a little, so this module reads them itself. Two other
readers were tried on the 275 PDB files of five packages. gemmi joins the separate parts of a chain, so that waters
after a TER come before the next chain and a trajectory no longer fits; it reads a C-alpha whose name begins in the
first column as calcium, and it stops at the first END. MDTraj loses the first atom after a byte-order mark, merges
residues 100 and 100A, keeps only the first of two alternate locations and cannot store insertion codes. Reading the
columns keeps the order of the file and every name, and a line that does not fit the columns is refused with its number.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from tpsctl.endpoints.connect import bonds_of_records
from tpsctl.endpoints.contents import Contents, FileAtom, box_from_cell
from tpsctl.endpoints.text import lines_of
from tpsctl.errors import EndpointError
from tpsctl.units import NM_PER_ANGSTROM

_ATOM_RECORD = re.compile(r"ATOM  |HETATM|ATOM [ \d]|ATOM\d\d")
_MISWRITTEN = re.compile(r"\s*(ATOM|HETATM)[\s\d]", re.IGNORECASE)
_POSITION = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+|nan|inf)([eE][-+]?\d+)?\s*", re.IGNORECASE | re.ASCII)
_LAST_OF_POSITION = 54
"""The column with the last digit of z: a line that ends before it was cut off."""
_MOST_RESIDUES = 9999
"""The largest decimal number that fits into four columns."""


def read_pdb_file(path: Path, text: str) -> Contents:
    """Read all models of a PDB file.

    Raises:
        EndpointError: A record cannot be read (the message has its line), or the models have different atoms.
    """
    models: list[list[tuple[int, str]]] = [[]]
    parts: list[int] = []
    box, connected, part, ended = None, [], 0, False
    for number, line in enumerate(lines_of(text), start=1):
        if _ATOM_RECORD.match(line):
            if ended and models[-1]:
                models.append([])
            ended = False
            models[-1].append((number, line))
            parts.append(part)
        elif _MISWRITTEN.match(line):
            raise _wrong(path, number, line, "an atom has ATOM or HETATM in capitals from column 1")
        elif line.startswith(("MODEL", "END")):
            ended = True
        elif line.startswith("TER"):
            part += 1
        elif line.startswith("CRYST1"):
            box = _box(line)
        elif line.startswith("CONECT"):
            connected.append(line)
    first = models[0]
    if not first:
        return Contents((), np.empty((0, 0, 3)))
    _refuse_cut_residues(path, first, parts)
    atoms = _atoms(path, first, parts[: len(first)])
    frames = np.array([_positions(path, model, first) for model in models if model]).reshape(-1, len(first), 3)
    bonds, notes = bonds_of_records(path, connected, [line for _, line in first])
    return Contents(atoms, frames * NM_PER_ANGSTROM, bonds, box, notes=notes)


def _atoms(path: Path, lines: list[tuple[int, str]], parts: list[int]) -> tuple[FileAtom, ...]:
    atoms: list[FileAtom] = []
    part, before, residue_id = -1, ("", "", -1), 0
    segments = _segments([line for _, line in lines], parts)
    for (number, line), ter, segment in zip(lines, parts, segments, strict=True):
        chain = line[21:22].strip()
        if (chain, "" if chain else segment, ter) != before:
            part, before = part + 1, (chain, "" if chain else segment, ter)
        residue_id = _residue_number(path, number, line, residue_id)
        name = line[12:16]
        if not name.strip():
            raise _wrong(path, number, line, "the atom has no name in columns 13 to 16")
        atoms.append(
            FileAtom(
                name=name.strip(),
                residue_name=line[17:21].strip(),
                residue_id=residue_id,
                insertion_code="" if _has_five_digits(line) else line[26:27].strip(),
                chain_id=chain,
                part=part,
                declared=line[76:78].strip(),
                alternate=line[16:17].strip(),
                indented=name[0] in " 0123456789" and len(name.strip()) < 4,
                segment=segment,
            )
        )
    return tuple(atoms)


def _segments(lines: list[str], parts: list[int]) -> list[str]:
    """Segment identifier in columns 73 to 76 of every atom; all atoms of a residue have that of its first.

    The columns may also hold numbers of lines or other remarks: they separate residues with the same number, name and
    chain only if an atom name comes again, and where most residues have several entries they hold no segments at all.
    """
    segments: list[str] = []
    begun, seen, mixed, several = "", set[str](), set[int](), set[int]()
    first = 0
    for k, (line, part) in enumerate(zip(lines, parts, strict=True)):
        entry = line[72:76].strip()
        same = k > 0 and lines[k - 1][17:27] == line[17:27] and parts[k - 1] == part
        if not same or (entry != begun and line[12:17] in seen):
            begun, seen, first = entry, set(), k
        else:
            several.add(first)
            mixed.update([first] if entry != begun else [])
        seen.add(line[12:17])
        segments.append(begun)
    return [""] * len(lines) if 2 * len(mixed) > len(several) else segments


def _refuse_cut_residues(path: Path, lines: list[tuple[int, str]], parts: list[int]) -> None:
    """Raise if a TER lies inside a residue, which would lose its bonds.

    A residue behind a TER that has number, name and chain of the one before is another one if an atom comes again.
    """
    begun = 0
    for k, ((_, before), (number, line)) in enumerate(pairwise(lines), start=1):
        if before[17:27] != line[17:27]:
            begun = k
        elif parts[k] != parts[k - 1]:
            if line[12:16] not in {earlier[12:16] for _, earlier in lines[begun:k]}:
                raise _wrong(path, number, line, "a TER before this line cuts its residue in two; move or delete it")
            begun = k


def _residue_number(path: Path, number: int, line: str, before: int) -> int:
    """Residue number in columns 23 to 26.

    It is decimal. Above 9999 it may also be hybrid-36 (A000), hexadecimal (2710, VMD) or have a fifth digit (10000).

    Args:
        path: The file, for messages.
        number: The line's number, for messages.
        line: The record.
        before: Residue number of the previous line; it decides whether 2710 is decimal or means 10000.
    """
    if _has_five_digits(line):
        return int(line[22:27])
    field = line[22:26].strip()
    if before >= _MOST_RESIDUES and re.fullmatch(r"[0-9a-fA-F]{4}", field) and int(field, 16) in (before, before + 1):
        return int(field, 16)
    if re.fullmatch(r"[-+]?\d+", field, re.ASCII):
        return int(field)
    if re.fullmatch(r"[A-Z][0-9A-Z]{3}", field):
        return int(field, 36) - 10 * 36**3 + 10**4
    if re.fullmatch(r"[a-z][0-9a-z]{3}", field):
        return int(field, 36) + 16 * 36**3 + 10**4
    raise _wrong(path, number, line, f'"{field}" in columns 23 to 26 is no residue number')


def _has_five_digits(line: str) -> bool:
    """Whether a residue number extends into the column of the insertion code: a digit there is no insertion code."""
    return re.fullmatch(r"\d{5}", line[22:27], re.ASCII) is not None


def _positions(path: Path, model: list[tuple[int, str]], first: list[tuple[int, str]]) -> list[list[float]]:
    if len(model) != len(first):
        raise EndpointError(
            f"{path}: the models have different atoms: {len(first)} from line {first[0][0]}, {len(model)} from line "
            f"{model[0][0]}. Give models of one molecule, or a file with the one model."
        )
    x = []
    for (number, line), (_, named) in zip(model, first, strict=True):
        if line[12:27] != named[12:27]:
            raise _wrong(path, number, line, f'the first model has "{named[12:27].strip()}" in its place')
        fields = (line[30:38], line[38:46], line[46:54])
        if line[27:30].strip() or not all(_POSITION.fullmatch(field) for field in fields):
            raise _wrong(path, number, line, "columns 31 to 54 do not hold three coordinates of eight columns each")
        if len(line) < _LAST_OF_POSITION:
            raise _wrong(path, number, line, f"the line ends before column {_LAST_OF_POSITION}, the last digit of z")
        if line[11:12].isdigit() and not all(field[4] == "." for field in fields):
            raise _wrong(path, number, line, "a long serial number has shifted the columns behind it")
        x.append([float(field) for field in fields])
    return x


def _wrong(path: Path, number: int, line: str, reason: str) -> EndpointError:
    return EndpointError(
        f'{path}:{number}: cannot be read: {reason} ("{line[:60].rstrip()}"). '
        "Write the file anew with a program that keeps the columns of PDB, or as mmCIF."
    )


def _box(line: str) -> np.ndarray | None:
    try:
        a, b, c = (float(line[k : k + 9]) * NM_PER_ANGSTROM for k in (6, 15, 24))
        angles = (float(line[33:40]), float(line[40:47]), float(line[47:54]))
    except ValueError:
        return None
    return box_from_cell((a, b, c), angles)

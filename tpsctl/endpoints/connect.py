"""Bonds of the CONECT records of a PDB file.

A record names atoms by serial numbers in fields of five columns. Files with more than 99 999 atoms number them in
hybrid-36 (A0000), which fits, or with six digits: fields are then one column wider from the first such number on, and
the division into fields is the one in which every field is the serial number of an atom.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tpsctl.endpoints.contents import Bond

_FIELD = 5
_MOST_PARTNERS = 4
"""Columns behind the fourth partner hold hydrogen bonds in old files."""


def bonds_of_records(
    path: Path, records: Sequence[str], atoms: Sequence[str]
) -> tuple[tuple[Bond, ...], tuple[str, ...]]:
    """Find the bonds, and make notes; a bond is left out if its serial numbers name several atoms.

    Args:
        path: The file, for messages.
        records: Lines that begin with CONECT.
        atoms: Lines of the atoms, in order.
    """
    index: dict[str, int] = {}
    twice: set[str] = set()
    for i, line in enumerate(atoms if records else ()):
        serial = serial_number(line)
        (twice.add(serial) if serial in index else index.setdefault(serial, i))
    six_digits = any(len(serial) > _FIELD for serial in index)
    bonds, unclear = set(), 0
    for record in records:
        first, *others = _serials(record, index) if six_digits else _in_five_columns(record)
        for other in others:
            if {first, other} & twice or not first:
                unclear += 1
            elif first in index and other in index and first != other:
                i, j = index[first], index[other]
                bonds.add((min(i, j), max(i, j)))
    note = f"{path}: {unclear} bonds of CONECT records are left out, because their serial numbers name several atoms."
    return tuple(sorted(bonds)), (note,) if unclear else ()


def serial_number(line: str) -> str:
    """Serial number of an atom, in columns 7 to 11; a sixth digit stands in front of them or behind."""
    begin = 6 if line.startswith("HETATM") else 4
    return line[begin : 12 if line[11:12].isdigit() else 11].strip()


def _in_five_columns(record: str) -> list[str]:
    serials = [record[k : k + _FIELD].strip() for k in range(6, min(len(record), 31), _FIELD)] or [""]
    return [serials[0], *(serial for serial in serials[1:] if serial and serial != serials[0])]


def _serials(record: str, known: dict[str, int]) -> list[str]:
    """Serial numbers of a record of a file with six digits; two empty ones if it can be divided in several ways."""
    divided = list(_divisions(record[6:].rstrip(), known, 1 + _MOST_PARTNERS))
    if len(divided) == 1:
        return divided[0]
    return ["", ""] if divided else _in_five_columns(record)


def _divisions(text: str, known: dict[str, int], most: int) -> Iterator[list[str]]:
    """All ways to divide a text into fields of known serial numbers, five columns or six digits wide."""
    if not text or not most:
        yield []
        return
    for width in (_FIELD, _FIELD + 1):
        serial = text[:width].strip()
        if len(text) >= width and serial in known and text[width - 1] != " ":
            for rest in _divisions(text[width:], known, most - 1):
                yield [serial, *rest]

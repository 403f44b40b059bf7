"""The content of a structure file as it stands in the file; the readers of all formats return it."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tpsctl.molecule.elements import is_ion, is_water

Bond = tuple[int, int]


class FileAtom(NamedTuple):
    """One atom, with every name and number as in the file.

    Attributes:
        name: Atom name.
        residue_name: Residue name.
        residue_id: Residue number.
        insertion_code: Letter after the residue number, "" if none.
        chain_id: Chain identifier, "" if none.
        part: Number of the part of a chain that it belongs to: a new part begins with every change of the chain
            identifier and after every TER record.
        declared: Text in the element column, "" if there is none.
        alternate: Identifier of its alternate location, "" if none.
        indented: Whether a PDB file leaves the first column of the name blank.
        segment: Segment identifier of a PDB file, "" if none.
    """

    name: str
    residue_name: str
    residue_id: int
    insertion_code: str = ""
    chain_id: str = ""
    part: int = 0
    declared: str = ""
    alternate: str = ""
    indented: bool = False
    segment: str = ""

    @property
    def residue_label(self) -> str:
        """Short name of the residue for messages, e.g. "ALA2" or "B:ALA100A"."""
        chain = f"{self.chain_id}:" if self.chain_id else ""
        return f"{chain}{self.residue_name}{self.residue_id}{self.insertion_code}"

    @property
    def label(self) -> str:
        """Short name for messages, e.g. "B:ALA100A:CA"."""
        return f"{self.residue_label}:{self.name}"


@dataclass(frozen=True)
class Contents:
    """The content of a structure file.

    Attributes:
        atoms: All atoms of the first model, in file order.
        frames: Positions (frame, atom, 3), nm, float64; no frames for a format without positions.
        bonds: Sorted index pairs that the file itself states.
        box_nm: Box vectors as rows (3, 3), nm; None if the file has no periodic box.
        complete: Whether `bonds` are all bonds of the molecule, so that none must be added from the names of residues.
        notes: Notes for the user, one sentence each.
    """

    atoms: tuple[FileAtom, ...]
    frames: Float[np.ndarray, "frame atom 3"]
    bonds: tuple[Bond, ...] = ()
    box_nm: Float[np.ndarray, "3 3"] | None = None
    complete: bool = False
    notes: tuple[str, ...] = field(default=())

    def residues(self) -> tuple[range, ...]:
        """Indices of the atoms of every residue.

        A residue ends where its number, name or chain changes. In water and ions it also ends where an atom name is
        repeated, because some programs give all molecules of a solvent the same number.
        """
        if not self.atoms:
            return ()
        starts, seen = [0], {self.atoms[0].name}
        for i, (before, here) in enumerate(pairwise(self.atoms), start=1):
            same = before[1:6] == here[1:6] and before.segment == here.segment
            if not same or (here.name in seen and _stands_alone(here)):
                starts.append(i)
                seen = set()
            seen.add(here.name)
        return tuple(range(a, b) for a, b in pairwise([*starts, len(self.atoms)]))


def _stands_alone(atom: FileAtom) -> bool:
    return not atom.alternate and (is_water(atom.residue_name) or is_ion(atom.residue_name, atom.name))


def box_from_cell(
    lengths_nm: tuple[float, float, float], angles_deg: tuple[float, float, float]
) -> Float[np.ndarray, "3 3"] | None:
    """Box vectors of a unit cell, as rows, nm.

    None if the cell is impossible, or if it is the cube of 0.1 nm that files without a box have.
    """
    if min(lengths_nm) < 0.2 or not np.isfinite([*lengths_nm, *angles_deg]).all():
        return None
    a, b, c = lengths_nm
    cos_a, cos_b, cos_g = np.cos(np.radians(angles_deg))
    sin_g = np.sqrt(max(0.0, 1 - cos_g**2))
    if sin_g < 1e-3:
        return None
    across = (cos_a - cos_b * cos_g) / sin_g
    up = 1 - cos_b**2 - across**2
    if up <= 0:
        return None
    return np.array([[a, 0, 0], [b * cos_g, b * sin_g, 0], [c * cos_b, c * across, c * np.sqrt(up)]])

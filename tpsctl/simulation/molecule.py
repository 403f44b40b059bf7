"""The molecule that is simulated: from a structure file, or alanine dipeptide from nothing.

`build_capped_alanine` makes ACE-ALA-NME (22 atoms) from bond lengths, angles and dihedrals alone, so that
the shipped example depends on no file. Its atom order, its L chirality and the winding of its methyl
hydrogens are always the same: a model trained on one such data set fits the next, and the shipped ends.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tpsctl.errors import DataError
from tpsctl.molecule.topology import Atom, Topology

if TYPE_CHECKING:
    from openmm import app

CAPPED_ALANINE = "capped_alanine"
"""Name that stands for the built-in molecule where a structure file could be given."""

# residue, name, element, then how it is placed: bonded to, angle to, dihedral to (row numbers), nm, degrees, degrees.
# Textbook peptide geometry at (phi, psi) = (-80, 70) degrees. CB follows C by -120 degrees about N-CA: the L hand.
_CAPPED_ALANINE = (
    ("ACE", "CH3", "C", None),
    ("ACE", "H1", "H", (0, 0, 0, 0.1090, 0.0, 0.0)),
    ("ACE", "H2", "H", (0, 1, 0, 0.1090, 109.5, 0.0)),
    ("ACE", "H3", "H", (0, 1, 2, 0.1090, 109.5, -120.0)),
    ("ACE", "C", "C", (0, 1, 2, 0.1522, 109.5, 120.0)),
    ("ACE", "O", "O", (4, 0, 1, 0.1229, 120.4, 0.0)),
    ("ALA", "N", "N", (4, 0, 5, 0.1335, 116.6, 180.0)),
    ("ALA", "H", "H", (6, 4, 0, 0.1010, 119.8, 0.0)),
    ("ALA", "CA", "C", (6, 4, 0, 0.1449, 121.9, 180.0)),
    ("ALA", "HA", "H", (8, 6, 4, 0.1090, 109.5, 40.0)),
    ("ALA", "C", "C", (8, 6, 4, 0.1522, 110.1, -80.0)),
    ("ALA", "CB", "C", (8, 6, 4, 0.1526, 109.7, 160.0)),
    ("ALA", "HB1", "H", (11, 8, 6, 0.1090, 109.5, 180.0)),
    ("ALA", "HB2", "H", (11, 8, 6, 0.1090, 109.5, -60.0)),
    ("ALA", "HB3", "H", (11, 8, 6, 0.1090, 109.5, 60.0)),
    ("ALA", "O", "O", (10, 8, 6, 0.1229, 120.4, -110.0)),
    ("NME", "N", "N", (10, 8, 6, 0.1335, 116.6, 70.0)),
    ("NME", "H", "H", (16, 10, 8, 0.1010, 119.8, 0.0)),
    ("NME", "C", "C", (16, 10, 8, 0.1449, 121.9, 180.0)),
    ("NME", "H1", "H", (18, 16, 10, 0.1090, 109.5, 180.0)),
    ("NME", "H2", "H", (18, 16, 10, 0.1090, 109.5, 60.0)),
    ("NME", "H3", "H", (18, 16, 10, 0.1090, 109.5, -60.0)),
)


@dataclass(frozen=True)
class Molecule:
    """A topology with coordinates (atom, 3) in nm."""

    topology: Topology
    x: np.ndarray


def load_molecule(structure: str | Path) -> Molecule:
    """The built-in molecule, or a PDB or mmCIF file with all its atoms.

    Raises:
        DataError: The file is missing, of another kind, or cannot be read.
    """
    if str(structure) == CAPPED_ALANINE:
        return build_capped_alanine()
    from openmm import app, unit

    path = Path(structure)
    readers = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".mmcif": app.PDBxFile}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f'{path}: expected a .pdb or .cif file, or the name "{CAPPED_ALANINE}".')
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give the structure to simulate, with all its hydrogens.")
    try:
        loaded = reader(str(path))
    except Exception as error:
        raise DataError(f"{path}: OpenMM cannot read this structure ({error}).") from error
    x = np.array(loaded.getPositions().value_in_unit(unit.nanometer), dtype=np.float64)
    if not np.isfinite(x).all():
        raise DataError(f"{path}: non-finite coordinates.")
    return Molecule(_topology(loaded.topology, path), x)


def build_capped_alanine() -> Molecule:
    """ACE-ALA-NME, L, near (phi, psi) = (-80, 70) degrees; ideal geometry, not minimized."""
    from openmm import app, unit

    x: list[np.ndarray] = []
    atoms, bonds = [], []
    for i, (residue, name, symbol, placing) in enumerate(_CAPPED_ALANINE):
        mass = app.Element.getBySymbol(symbol).mass.value_in_unit(unit.dalton)
        number = ("ACE", "ALA", "NME").index(residue) + 1
        atoms.append(Atom(name, symbol, residue, number, "A", mass))
        if placing is not None:
            bonds.append((placing[0], i))
        x.append(_place(x, placing))
    return Molecule(Topology(tuple(atoms), tuple(sorted(bonds))), np.array(x))


def _place(x: list[np.ndarray], placing: tuple[int, int, int, float, float, float] | None) -> np.ndarray:
    """Position with given bond length, angle and dihedral to placed atoms (the first three span a plane)."""
    if placing is None:
        return np.zeros(3)
    bonded, angled, twisted, bond_nm, angle_deg, dihedral_deg = placing
    angle, turn = math.radians(angle_deg), math.radians(dihedral_deg)
    if len(x) == 1:
        return np.array([bond_nm, 0.0, 0.0])
    if len(x) == 2:
        return bond_nm * np.array([math.cos(angle), math.sin(angle), 0.0])
    c, b, a = x[bonded], x[angled], x[twisted]
    forward = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, forward)
    normal /= np.linalg.norm(normal)
    along, across, up = -math.cos(angle), math.sin(angle) * math.cos(turn), math.sin(angle) * math.sin(turn)
    return c + bond_nm * (along * forward + across * np.cross(normal, forward) + up * normal)


def _topology(loaded: "app.Topology", path: Path) -> Topology:
    from openmm import unit

    nameless = [atom.name for atom in loaded.atoms() if atom.element is None]
    if nameless:
        raise DataError(f"{path}: atom {nameless[0]} has no element; all-atom dynamics needs one for every atom.")
    atoms = tuple(
        Atom(
            name=atom.name,
            element=atom.element.symbol,
            residue_name=atom.residue.name,
            residue_id=int(atom.residue.id),
            chain_id=atom.residue.chain.id,
            mass_amu=float(atom.element.mass.value_in_unit(unit.dalton)),
        )
        for atom in loaded.atoms()
    )
    pairs = {(min(a.index, b.index), max(a.index, b.index)) for a, b in loaded.bonds()}
    return Topology(atoms, tuple(sorted(pairs)))

"""The molecule that is simulated, and a built-in alanine dipeptide.

`build_capped_alanine` makes ACE-ALA-NME (22 atoms) from bond lengths, angles and dihedrals alone, so that
the shipped example depends on no file. Its atom order, its L chirality and the order of its methyl
hydrogens are always the same, so a model trained on one such data set also fits other such data sets
and the endpoint structures that are shipped with the recipes.
"""

import math
from dataclasses import dataclass

import numpy as np

from tpsctl.molecule.topology import Atom, Topology

CAPPED_ALANINE = "capped_alanine"
"""The name of the built-in molecule, given in place of a structure file."""

# A row holds residue, name and element; then the row numbers of the atoms that bond, angle and dihedral refer to, and
# their values in nm, degrees and degrees. This is textbook peptide geometry at (phi, psi) = (-80, 70) degrees. CB lies
# -120 degrees from C about N-CA, which makes the residue L.
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


def build_capped_alanine() -> Molecule:
    """L-alanine dipeptide (ACE-ALA-NME) with ideal geometry near (phi, psi) = (-80, 70) degrees, not minimized."""
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

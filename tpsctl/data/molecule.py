"""The molecule that is simulated: OpenMM topology and coordinates, from a file or from nothing.

`build_capped_alanine` makes ACE-ALA-NME (alanine dipeptide, 22 atoms) from bond lengths, angles and
dihedrals alone, so that the shipped example depends on no file. Every other molecule comes from a
structure file with all its atoms.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tpsctl.errors import DataError
from tpsctl.topology import Atom, Topology

if TYPE_CHECKING:
    import openmm
    from openmm import app

CAPPED_ALANINE = "capped_alanine"
"""Name that stands for the built-in molecule where a structure file could be given."""

# atom, residue, element, placed from (bond, angle, dihedral partners), nm, degrees; textbook peptide geometry.
# CB follows the carbonyl C by +120 degrees about N-CA: the L hand (CORN rule).
_HEAVY_ATOMS = (
    ("CH3", "ACE", "C", None),
    ("C", "ACE", "C", None),
    ("O", "ACE", "O", None),
    ("N", "ALA", "N", (("ACE", "C"), ("ACE", "CH3"), ("ACE", "O"), 0.1335, 116.6, 180.0)),
    ("CA", "ALA", "C", (("ALA", "N"), ("ACE", "C"), ("ACE", "CH3"), 0.1449, 121.9, 180.0)),
    ("C", "ALA", "C", (("ALA", "CA"), ("ALA", "N"), ("ACE", "C"), 0.1522, 110.1, -80.0)),
    ("CB", "ALA", "C", (("ALA", "CA"), ("ALA", "N"), ("ACE", "C"), 0.1526, 109.7, 160.0)),
    ("O", "ALA", "O", (("ALA", "C"), ("ALA", "CA"), ("ALA", "N"), 0.1229, 120.4, -110.0)),
    ("N", "NME", "N", (("ALA", "C"), ("ALA", "CA"), ("ALA", "N"), 0.1335, 116.6, 70.0)),
    ("C", "NME", "C", (("NME", "N"), ("ALA", "C"), ("ALA", "CA"), 0.1449, 121.9, 180.0)),
)
_FIRST_THREE_NM = ((0.0, 0.0, 0.0), (0.1522, 0.0, 0.0), (0.2144, 0.1060, 0.0))
_BONDS = ((0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6), (5, 7), (5, 8), (8, 9))


@dataclass(frozen=True)
class Molecule:
    """An OpenMM topology with coordinates (atom, 3) in nm."""

    topology: "app.Topology"
    x: np.ndarray

    def tpsctl_topology(self) -> Topology:
        """The molecule as the rest of tpsctl sees it."""
        from openmm import unit

        atoms = tuple(
            Atom(
                name=atom.name,
                element=atom.element.symbol if atom.element is not None else "",
                residue_name=atom.residue.name,
                residue_id=int(atom.residue.id),
                chain_id=atom.residue.chain.id,
                mass_amu=float(atom.element.mass.value_in_unit(unit.dalton)) if atom.element is not None else 0.0,
            )
            for atom in self.topology.atoms()
        )
        bonds = sorted(tuple(sorted((a.index, b.index))) for a, b in self.topology.bonds())
        return Topology(atoms, tuple((i, j) for i, j in bonds))


def load_molecule(structure: str | Path, force_field: tuple[str, ...]) -> Molecule:
    """The built-in molecule, or a PDB or mmCIF file with all atoms that the force field wants.

    Raises:
        DataError: The file is missing, of another kind, or cannot be read.
    """
    if str(structure) == CAPPED_ALANINE:
        return build_capped_alanine(force_field)
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
    return Molecule(loaded.topology, np.array(loaded.getPositions().value_in_unit(unit.nanometer), dtype=float))


def make_system(molecule: Molecule, force_field: tuple[str, ...]) -> "openmm.System":
    """OpenMM System of the isolated molecule: no cutoff, every bond flexible.

    Flexible, because a model of the score must learn the stiff directions too: with constrained
    bonds the density has no score along them.

    Raises:
        DataError: A force field file is unknown, or has no template for a residue.
    """
    from openmm import app

    field = load_force_field(force_field)
    try:
        return field.createSystem(
            molecule.topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False, removeCMMotion=False
        )
    except ValueError as error:
        raise DataError(f"force field {', '.join(force_field)} does not fit the structure: {error}") from error


def load_force_field(force_field: tuple[str, ...]) -> "app.ForceField":
    """The OpenMM force field of these XML files (own files or ones that OpenMM ships)."""
    from openmm import app

    try:
        return app.ForceField(*force_field)
    except ValueError as error:
        raise DataError(f"force field {', '.join(force_field)}: {error}") from error


def build_capped_alanine(force_field: tuple[str, ...]) -> Molecule:
    """ACE-ALA-NME with L chirality near (phi, psi) = (-80, 70) degrees, hydrogens added by OpenMM; not minimized."""
    import openmm
    from openmm import app, unit

    topology = app.Topology()
    chain = topology.addChain("A")
    residues = {name: topology.addResidue(name, chain) for name in ("ACE", "ALA", "NME")}
    placed: dict[tuple[str, str], np.ndarray] = {}
    atoms = []
    for name, residue, element, recipe in _HEAVY_ATOMS:
        atoms.append(topology.addAtom(name, app.Element.getBySymbol(element), residues[residue]))
        placed[residue, name] = np.array(_FIRST_THREE_NM[len(placed)]) if recipe is None else _place(placed, *recipe)
    for i, j in _BONDS:
        topology.addBond(atoms[i], atoms[j])
    modeller = app.Modeller(topology, np.array(list(placed.values())) * unit.nanometer)
    # A fixed platform and a fixed seed for the hydrogens' random start: the same molecule every time.
    modeller.addHydrogens(load_force_field(force_field), platform=openmm.Platform.getPlatformByName("Reference"))
    x = np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=float)
    return Molecule(modeller.topology, x)


def _place(
    placed: dict[tuple[str, str], np.ndarray],
    bonded: tuple[str, str],
    angled: tuple[str, str],
    twisted: tuple[str, str],
    bond_nm: float,
    angle_deg: float,
    dihedral_deg: float,
) -> np.ndarray:
    """Position with given bond length, angle and dihedral to three placed atoms (natural extension)."""
    c, b, a = placed[bonded], placed[angled], placed[twisted]
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    angle, turn = math.radians(angle_deg), math.radians(dihedral_deg)
    along, across, up = -math.cos(angle), math.sin(angle) * math.cos(turn), math.sin(angle) * math.sin(turn)
    return c + bond_nm * (along * bc + across * np.cross(normal, bc) + up * normal)

"""Builds what a structure lacks with PDBFixer and OpenMM's Modeller: heavy atoms and hydrogens.

Nothing is downloaded. PDBFixer could fetch definitions of unknown residues; only those of its functions are called that
use the templates it ships (standard amino acids, nucleotides, ACE, NME). Residues that neither knows stay as they are.
"""

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tpsctl.errors import EndpointError, MissingDependencyError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.workflows.prepare.changes import Atoms, Place

_SEED = 2026
_REFERENCE_ATOMS = 2000
"""Up to this many atoms new positions are minimized on OpenMM's Reference platform, which repeats bit by bit."""


class Builder:
    """A structure under repair.

    Args:
        pdb_text: The structure in PDB format, one location per atom.

    Raises:
        MissingDependencyError: PDBFixer is not installed.
        EndpointError: OpenMM cannot read the structure.
    """

    def __init__(self, pdb_text: str) -> None:
        import openmm

        try:
            from pdbfixer import PDBFixer
        except ImportError:
            raise MissingDependencyError(
                'prepare needs the package pdbfixer, which is not installed. Install: pip install "tpsctl[prepare]"'
            ) from None
        try:
            self._fixer = PDBFixer(pdbfile=io.StringIO(pdb_text))
        except Exception as error:  # OpenMM's reader raises whatever it stumbles over
            raise EndpointError(f"OpenMM cannot read the structure ({_one_line(error)}). Mend the file.") from None
        small = self._fixer.topology.getNumAtoms() <= _REFERENCE_ATOMS
        self._fixer.platform = openmm.Platform.getPlatformByName("Reference" if small else "CPU")
        self._fixer.missingResidues = {}

    @property
    def gaps(self) -> dict[tuple[int, int], list[str]]:
        """Residues that SEQRES names and the file lacks inside a chain: by chain and place, their names."""
        self._fixer.findMissingResidues()
        found, self._fixer.missingResidues = self._fixer.missingResidues, {}
        lengths = [len(list(chain.residues())) for chain in self._fixer.topology.chains()]
        return {key: names for key, names in found.items() if 0 < key[1] < lengths[key[0]]}

    def plan_gaps(self) -> None:
        """Add the residues that are missing inside chains."""
        self._fixer.missingResidues |= self.gaps

    def build(self, ph: float) -> list[str | None]:
        """Add heavy atoms, then hydrogens; for each residue the variant whose hydrogens it has, where there are some.

        Raises:
            EndpointError: OpenMM cannot place them.
        """
        from openmm import app

        self._fixer.findMissingAtoms()
        with _seeded():
            try:
                self._fixer.addMissingAtoms(seed=_SEED)
                modeller = app.Modeller(self._fixer.topology, self._fixer.positions)
                variants = modeller.addHydrogens(pH=ph, platform=self._fixer.platform)
            except Exception as error:  # PDBFixer and Modeller raise whatever they stumble over
                raise EndpointError(
                    f"atoms cannot be added ({_one_line(error)}). Look for atoms in one place, or for residues whose "
                    "atoms have unusual names."
                ) from None
        self._fixer.topology, self._fixer.positions = modeller.topology, modeller.positions
        return variants

    def atoms(self) -> Atoms:
        """The atoms of every residue."""
        return {
            place_of(residue): [(atom.name, _is_hydrogen(atom)) for atom in residue.atoms()]
            for residue in self._fixer.topology.residues()
        }

    def residues(self) -> list[Place]:
        """All residues, in order."""
        return [place_of(residue) for residue in self._fixer.topology.residues()]

    def disulfides(self) -> list[tuple[Place, Place]]:
        """Pairs of residues that a bond of two SG atoms joins."""
        return [
            (min(pair), max(pair))
            for a, b in self._fixer.topology.bonds()
            if a.name == b.name == "SG" and a.residue != b.residue
            for pair in [(place_of(a.residue), place_of(b.residue))]
        ]

    def molecule(self) -> tuple[Topology, np.ndarray]:
        """Topology and positions, angstrom, of shape (atom, 3)."""
        from openmm import unit

        atoms = []
        for atom in self._fixer.topology.atoms():
            place = place_of(atom.residue)
            element = "" if atom.element is None else atom.element.symbol
            mass = 0.0 if atom.element is None else atom.element.mass._value
            atoms.append(Atom(atom.name, element, place.name, place.number, place.chain, mass, place.code))
        bonds = {tuple(sorted((a.index, b.index))) for a, b in self._fixer.topology.bonds()}
        x = np.array(self._fixer.positions.value_in_unit(unit.angstrom), dtype=float)
        return Topology(tuple(atoms), tuple(sorted((i, j) for i, j in bonds))), x


def place_of(residue: Any) -> Place:
    """The place of a residue of OpenMM."""
    return Place(residue.chain.id.strip(), residue.name, int(residue.id), residue.insertionCode.strip())


def _is_hydrogen(atom: Any) -> bool:
    return atom.element is not None and atom.element.symbol in ("H", "D")


@contextmanager
def _seeded() -> Iterator[None]:
    """Let OpenMM place hydrogens the same way each time, and leave Python's random numbers as they were."""
    state = random.getstate()
    random.seed(_SEED)
    try:
        yield
    finally:
        random.setstate(state)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")

"""A System from an Amber topology file (prmtop, parm7), in vacuum or with an implicit solvent.

The implicit solvent uses the atomic radii that the file holds. The GBn2 model was parametrized for the mbondi3 set and
GBn for bondi; a file with another set is refused, because no published model would give its energies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_system.base import ImplicitSolvent, MolecularSystem, SystemSource, particle_masses
from tpsctl.molecule.openmm_system.matching import require_bonds, require_count, require_elements
from tpsctl.molecule.openmm_system.usable import free_system
from tpsctl.molecule.topology import Topology

RADII = {
    "HCT": ("mbondi",),
    "OBC1": ("mbondi2", "mbondi"),
    "OBC2": ("mbondi2", "mbondi"),
    "GBn": ("bondi",),
    "GBn2": ("mbondi3",),
}
"""The sets of radii that each model is used with (Amber reference manual, igb = 1, 2, 5, 7, 8)."""

_SETS = {
    "modified bondi radii (mbondi)": "mbondi",
    "H(N)-modified Bondi radii (mbondi2)": "mbondi2",
    "ArgH and AspGluO modified Bondi2 radii (mbondi3)": "mbondi3",
    "Bondi radii (bondi)": "bondi",
}
"""Titles that LEaP and ParmEd write under RADIUS_SET, with the short name of each set of radii."""


@dataclass(frozen=True)
class AmberTopology(SystemSource):
    """An Amber topology file.

    Attributes:
        prmtop: The file.
        implicit_solvent: "HCT", "OBC1", "OBC2", "GBn" or "GBn2"; None for vacuum.
    """

    prmtop: Path
    implicit_solvent: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.prmtop.name, *((self.implicit_solvent,) if self.implicit_solvent else ()))

    @property
    def name(self) -> str:
        return self.prmtop.name

    def files(self) -> tuple[Path, ...]:
        return (self.prmtop,) if self.prmtop.is_file() else ()

    def create(self, topology: Topology) -> MolecularSystem:
        from openmm import app

        loaded = self._load()
        _match(loaded.topology, topology, self.name)
        if loaded.topology.getPeriodicBoxVectors() is not None:
            raise ValidationError(
                f"{self.name}: the file has a periodic box (explicit solvent), and paths are of isolated molecules. "
                "Strip solvent and box first (cpptraj: parmstrip :WAT,Na+,Cl-; parmbox nobox), and take an implicit "
                "solvent."
            )
        solvent = self._solvent(loaded)
        model = getattr(app, self.implicit_solvent) if self.implicit_solvent else None
        system = self._guarded(lambda: loaded.createSystem(constraints=None, rigidWater=False, implicitSolvent=model))
        system = free_system(system, topology, self.name)
        return MolecularSystem(system, self.parts, particle_masses(system), solvent)

    def _load(self) -> Any:
        from openmm import app

        if not self.prmtop.is_file():
            raise ValidationError(f"{self.prmtop}: no such file. Give an Amber topology file (prmtop).")
        return self._guarded(lambda: app.AmberPrmtopFile(str(self.prmtop)))

    def _guarded(self, make: Any) -> Any:
        try:
            return make()
        except Exception as error:  # a damaged file may raise any exception in the parser
            found = " ".join(str(error).split()).rstrip(".")
            raise ValidationError(
                f"{self.prmtop}: OpenMM cannot make a System from this Amber topology ({type(error).__name__}: "
                f"{found}). Give a prmtop as LEaP or ParmEd write it."
            ) from error

    def _solvent(self, loaded: Any) -> ImplicitSolvent | None:
        if self.implicit_solvent is None:
            return None
        title = " ".join(loaded._prmtop._raw_data.get("RADIUS_SET", [])).strip()  # OpenMM offers no public view of it
        radii = _SETS.get(title, title or "unnamed")
        fitting = RADII[self.implicit_solvent]
        if radii in _SETS.values() and radii not in fitting:
            raise ValidationError(
                f"{self.name}: got {radii} radii, but implicit_solvent {self.implicit_solvent} wants "
                f"{' or '.join(fitting)}. Set them (ParmEd: changeRadii {fitting[0]}), or take another model."
            )
        return ImplicitSolvent(self.implicit_solvent, radii)


def _match(loaded: Any, topology: Topology, name: str) -> None:
    """Refuse an `openmm.app.Topology` whose number of atoms, elements or bonds differ from the molecule's."""
    atoms = list(loaded.atoms())
    require_count(len(atoms), topology, name)
    elements = [atom.element.symbol if atom.element is not None else "" for atom in atoms]
    labels = [f"{atom.residue.name}{atom.residue.index + 1}:{atom.name}" for atom in atoms]
    require_elements(elements, topology, name, labels)
    require_bonds({frozenset((a.index, b.index)) for a, b in loaded.bonds()}, topology, name)

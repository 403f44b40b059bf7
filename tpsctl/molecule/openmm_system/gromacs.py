"""A System from a GROMACS topology file (.top), in vacuum.

Files that it includes are searched beside the including file and in the folder that is given, and nowhere else: a
result must not depend on which GROMACS happens to be installed. Every included file counts as an input of the run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_system.base import MolecularSystem, SystemSource, particle_masses
from tpsctl.molecule.openmm_system.matching import require_bonds, require_count, require_elements
from tpsctl.molecule.openmm_system.usable import free_system
from tpsctl.molecule.topology import Topology

_INCLUDE = re.compile(r'^\s*#include\s+["<]?([^"<>\n;]+)', re.MULTILINE)


@dataclass(frozen=True)
class GromacsTopology(SystemSource):
    """A GROMACS topology file.

    Attributes:
        top: The file.
        include: Folder of force-field files, e.g. GROMACS's share/top; None if the topology needs no such folder.
    """

    top: Path
    include: Path | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.top.name,)

    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self._files(self.top, set()))) if self.top.is_file() else ()

    def create(self, topology: Topology) -> MolecularSystem:
        loaded = self._load()
        atoms = list(loaded.topology.atoms())
        require_count(len(atoms), topology, self.name)
        elements = [atom.element.symbol if atom.element is not None else "" for atom in atoms]
        labels = [f"{atom.residue.name}{atom.residue.id}:{atom.name}" for atom in atoms]
        require_elements(elements, topology, self.name, labels)
        require_bonds({frozenset((a.index, b.index)) for a, b in loaded.topology.bonds()}, topology, self.name)
        system = self._guarded(lambda: loaded.createSystem(constraints=None, rigidWater=False))
        system = free_system(system, topology, self.name)
        return MolecularSystem(system, self.parts, particle_masses(system))

    def _load(self) -> Any:
        from openmm import app

        if not self.top.is_file():
            raise ValidationError(f"{self.top}: no such file. Give a GROMACS topology file (.top).")
        if self.include is not None and not self.include.is_dir():
            raise ValidationError(
                f"{self.include}: no such folder. Give the folder of GROMACS's force fields (share/top)."
            )
        folder = self.include or self.top.parent
        return self._guarded(lambda: app.GromacsTopFile(str(self.top), includeDir=str(folder)))

    def _guarded(self, make: Any) -> Any:
        try:
            return make()
        except Exception as error:  # a damaged file may raise any exception in the parser
            found = " ".join(str(error).split()).rstrip(".")
            cure = (
                "Name the folder that holds it with force_field.include."
                if "#include" in found
                else "Give a top file as GROMACS's pdb2gmx or ParmEd write it."
            )
            raise ValidationError(
                f"{self.top}: OpenMM cannot make a System from this GROMACS topology ({type(error).__name__}: "
                f"{found}). {cure}"
            ) from error

    def _files(self, file: Path, seen: set[Path]) -> Iterator[Path]:
        """A file and all files that it includes, also those that an #ifdef would leave out."""
        if file in seen:
            return
        seen.add(file)
        yield file
        for included in _INCLUDE.findall(file.read_text(encoding="latin-1")):
            places = (folder / included.strip() for folder in (self.top.parent, self.include, file.parent) if folder)
            found = next((place.resolve() for place in places if place.is_file()), None)
            if found is not None:
                yield from self._files(found, seen)

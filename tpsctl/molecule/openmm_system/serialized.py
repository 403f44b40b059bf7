"""A System that was serialized to XML (`openmm.XmlSerializer.serialize(system)`)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.openmm_system.base import ImplicitSolvent, MolecularSystem, SystemSource, particle_masses
from tpsctl.molecule.openmm_system.matching import require_bonds, require_count, require_masses
from tpsctl.molecule.openmm_system.usable import bonded_pairs, free_system
from tpsctl.molecule.topology import Topology


@dataclass(frozen=True)
class SerializedSystem(SystemSource):
    """An XML file that holds an `openmm.System`.

    Attributes:
        file: The file.
    """

    file: Path

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.file.name,)

    def files(self) -> tuple[Path, ...]:
        return (self.file,) if self.file.is_file() else ()

    def create(self, topology: Topology) -> MolecularSystem:
        system = self._read()
        require_count(system.getNumParticles(), topology, self.name)
        system = free_system(system, topology, self.name)
        masses = particle_masses(system)
        require_masses(masses, topology, self.name)
        require_bonds(bonded_pairs(system), topology, self.name)
        return MolecularSystem(system, self.parts, masses, _solvent(system))

    def _read(self) -> Any:
        import openmm

        try:
            text = self.file.read_text(encoding="utf-8")
        except OSError as error:
            raise ValidationError(f"{self.file}: cannot read the System: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ValidationError(f"{self.file}: this is no text file (UTF-8), so no serialized System.") from None
        kind = re.search(r"<([A-Za-z]\w*)", text)
        if kind is None or kind[1] != "System":
            found = f"<{kind[1]}>" if kind else "no XML"
            hint = ' For a force field write "force_field: [FILE]".' if kind and kind[1] == "ForceField" else ""
            raise ValidationError(
                f"{self.file}: got {found}, expected a serialized System of OpenMM (<System ...>).{hint}"
            )
        try:
            return openmm.XmlSerializer.deserialize(text)
        except openmm.OpenMMException as error:
            raise ValidationError(
                f"{self.file}: OpenMM cannot read this System: {_one_line(error)}. Write it anew with XmlSerializer."
            ) from None


def _solvent(system: Any) -> ImplicitSolvent | None:
    for force in system.getForces():
        if type(force).__name__ == "GBSAOBCForce":
            return ImplicitSolvent("OBC2", "the System's")
        if type(force).__name__ == "CustomGBForce":
            return ImplicitSolvent("generalized Born", "the System's")
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")

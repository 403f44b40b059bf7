"""A System from force-field XML files: OpenMM's own by name, or the user's by path; all-atom or coarse-grained."""

from dataclasses import dataclass
from pathlib import Path

from tpsctl.errors import ValidationError
from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.force_field_files import ForceFieldFile, find_files, read_files, shown
from tpsctl.molecule.openmm_system.base import ImplicitSolvent, MolecularSystem, SystemSource, particle_masses
from tpsctl.molecule.openmm_system.usable import free_system
from tpsctl.molecule.topology import Topology

_RADII = {"HCT": "mbondi", "OBC1": "mbondi2", "OBC2": "mbondi2", "GBn": "bondi", "GBn2": "mbondi3"}
"""The set of radii that OpenMM uses for each model if an XML file asks for its standard parameters."""


@dataclass(frozen=True)
class XmlForceField(SystemSource):
    """Force-field XML files.

    Attributes:
        names: A `str` is the name of a file that OpenMM ships, or a path; a `Path` is a path.
    """

    names: tuple[str | Path, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(shown(name) for name in self.names)

    def files(self) -> tuple[Path, ...]:
        return tuple(find_files(self.names))

    def create(self, topology: Topology) -> MolecularSystem:
        files = read_files(self.names)
        system = free_system(create_system(topology, self.names), topology, self.name)
        return MolecularSystem(system, self.parts, particle_masses(system), _solvent(files), _notes(files))


def _solvent(files: list[ForceFieldFile]) -> ImplicitSolvent | None:
    """The generalized Born model that the files ask for; None for vacuum.

    Raises:
        ValidationError: Several files ask for one, and OpenMM would add all of their energies.
    """
    found = {file.path.name: model for file in files for model in [_model(file)] if model is not None}
    if len(found) > 1:
        raise ValidationError(
            f"force field {' + '.join(found)}: each of these files adds an implicit solvent, and their energies would "
            "add up. Name one of them."
        )
    return next(iter(found.values()), None)


def _model(file: ForceFieldFile) -> ImplicitSolvent | None:
    """The generalized Born model of one file; None if it has none."""
    for model, radii in _RADII.items():
        if f"GBSA{model}Force" in file.text:
            return ImplicitSolvent(model, radii)
    if "<GBSAOBCForce" in file.text:
        return ImplicitSolvent("OBC2", f"{file.path.name}'s own")
    if "CustomGBForce" in file.text:
        return ImplicitSolvent("generalized Born", f"{file.path.name}'s own")
    return None


def _notes(files: list[ForceFieldFile]) -> tuple[str, ...]:
    """A note for each of the user's files that holds a script, because OpenMM runs it."""
    scripts = [file.path.name for file in files if "Script>" in file.text and not file.shipped]
    return tuple(
        f"{name} holds a Script, which OpenMM runs as Python code; use only files you trust" for name in scripts
    )

"""The sources of OpenMM Systems: one file per kind of source, and each source implements `SystemSource`."""

from collections.abc import Sequence
from pathlib import Path

from tpsctl.molecule.openmm_system.amber import AmberTopology
from tpsctl.molecule.openmm_system.base import ImplicitSolvent, MolecularSystem, SystemSource
from tpsctl.molecule.openmm_system.gromacs import GromacsTopology
from tpsctl.molecule.openmm_system.serialized import SerializedSystem
from tpsctl.molecule.openmm_system.structure_based import StructureBasedModel, StructureBasedParameters
from tpsctl.molecule.openmm_system.xml_force_field import XmlForceField

__all__ = [
    "AmberTopology",
    "ForceField",
    "GromacsTopology",
    "ImplicitSolvent",
    "MolecularSystem",
    "SerializedSystem",
    "StructureBasedModel",
    "StructureBasedParameters",
    "SystemSource",
    "XmlForceField",
    "as_source",
]

ForceField = SystemSource | Sequence[str | Path]
"""A source of a System, or the names of the force-field XML files of an `XmlForceField`."""


def as_source(force_field: ForceField) -> SystemSource:
    """Return a source unchanged, or make an `XmlForceField` of XML files (OpenMM's names for them, or paths)."""
    return force_field if isinstance(force_field, SystemSource) else XmlForceField(tuple(force_field))

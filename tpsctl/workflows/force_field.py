"""The source of a System from the key `force_field` of a recipe, and every file that it reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tpsctl.molecule.openmm_system import (
    AmberTopology,
    GromacsTopology,
    SerializedSystem,
    StructureBasedModel,
    StructureBasedParameters,
    SystemSource,
    XmlForceField,
)
from tpsctl.recipe.force_field import (
    AmberTopologySection,
    ForceFieldSection,
    GromacsTopologySection,
    SerializedSystemSection,
    StructureBasedSection,
)


def system_source(section: ForceFieldSection) -> SystemSource:
    """Where the System comes from."""
    match section:
        case SerializedSystemSection():
            return SerializedSystem(section.file)
        case AmberTopologySection():
            return AmberTopology(section.prmtop, section.implicit_solvent)
        case GromacsTopologySection():
            return GromacsTopology(section.top, section.include)
        case StructureBasedSection():
            return _structure_based(section)
        case _:
            return XmlForceField(section)


def _structure_based(section: StructureBasedSection) -> StructureBasedModel:
    """The model of the native structure, which is read as the ends of a path are."""
    from tpsctl.endpoints.load import load_structure

    native = load_structure(section.structure, select=section.select)
    parameters = StructureBasedParameters(**section.model_dump(exclude={"kind", "structure", "select"}))
    return StructureBasedModel(section.structure, native.topology, tuple(map(tuple, native.x.tolist())), parameters)


def force_field_files(key: str, section: ForceFieldSection, named: Iterable[Path]) -> dict[str, Path]:
    """Files of a force field that the recipe does not name itself: shipped with OpenMM, or included by another.

    Args:
        key: Key of the section, with which the names of the files begin.
        section: The force field.
        named: Files and folders that the recipe names.
    """
    known = set(named)
    found: dict[str, Path] = {}
    for file in system_source(section).files():
        if file not in known:
            name = next(name for name in _longer_names(file) if f"{key}: {name}" not in found)
            found[f"{key}: {name}"] = file
    return found


def _longer_names(file: Path) -> Iterator[str]:
    """The name of a file, then with its folder, and so on."""
    for count in range(1, len(file.parts) + 1):
        yield "/".join(file.parts[-count:])

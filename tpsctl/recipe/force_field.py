"""The key `force_field`, which names the source of an OpenMM System; prior, validation and simulate share it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, PlainSerializer, Tag, WithJsonSchema

from tpsctl.recipe.section import Section, key

FORCE_FIELD_FILE = "force-field-file"
"""Format of a name in the schema: the name of a file beside the recipe, or else of a file that OpenMM ships."""

if TYPE_CHECKING:
    ForceFieldFile = str | Path
else:
    ForceFieldFile = Annotated[
        str,
        AfterValidator(lambda name: Path(name) if Path(name).is_absolute() else name),  # the loader made it absolute
        PlainSerializer(lambda name: name),
        WithJsonSchema({"type": "string", "format": FORCE_FIELD_FILE}),
    ]


class SerializedSystemSection(Section):
    """An OpenMM System, written with `openmm.XmlSerializer.serialize(system)`."""

    kind: Literal["system"] = key("A serialized System.")
    file: Path = key("XML file of the System.")


class AmberTopologySection(Section):
    """An Amber topology file. Coordinates come from the structures, which may be inpcrd or rst7 files read with it."""

    kind: Literal["amber"] = key("An Amber topology.")
    prmtop: Path = key("Topology file (prmtop, parm7), its atoms in the order of the structures.")
    implicit_solvent: Literal["HCT", "OBC1", "OBC2", "GBn", "GBn2"] | None = key(
        "Generalized Born model, with the radii of the file; without this key, vacuum.", default=None
    )


class GromacsTopologySection(Section):
    """A GROMACS topology file. Coordinates come from the structures, which may be GRO files."""

    kind: Literal["gromacs"] = key("A GROMACS topology.")
    top: Path = key("Topology file (.top), its atoms in the order of the structures.")
    include: Path | None = key("Folder of the force-field files that it includes (share/top).", default=None)


SystemSection = Annotated[
    SerializedSystemSection | AmberTopologySection | GromacsTopologySection, Field(discriminator="kind")
]


def _form(value: Any) -> str:
    """Tag of the form of a value: a list of files or a section."""
    return "section" if isinstance(value, dict | Section) else "files"


ForceFieldSection = Annotated[
    Annotated[tuple[ForceFieldFile, ...], Field(min_length=1), Tag("files")] | Annotated[SystemSection, Tag("section")],
    Discriminator(_form),
]

FORCE_FIELD = (
    "OpenMM force-field XML files, each beside the recipe or one that OpenMM ships (amber14-all.xml); "
    "or a mapping with `kind: system`, `amber` or `gromacs`."
)
PLATFORM = 'OpenMM platform, or "auto".'

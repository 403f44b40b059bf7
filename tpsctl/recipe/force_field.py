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


class StructureBasedSection(Section):
    """A structure-based C-alpha model: native angles, torsions and contacts, with a cooperative contact energy."""

    kind: Literal["structure_based"] = key("A structure-based model.")
    structure: Path = key("The native (folded) structure: PDB, mmCIF or GRO, all atoms or the beads alone.")
    select: str = key("Beads of the native structure, as an MDTraj selection.", default="name CA", min_length=1)
    mass_amu: float = key("Mass of a bead.", "amu", default=110.0, gt=0)
    bond_length_nm: float = key("Length b of every bond.", "nm", default=0.38, gt=0)
    bond_kj_per_mol_nm2: float = key(
        "Spring constant of bonds, in k/2 (r - b)^2.", "kJ/mol/nm^2", default=10000.0, gt=0
    )
    angle_kj_per_mol_rad2: float = key(
        "Spring constant of angles about their native values.", "kJ/mol/rad^2", default=20.0, ge=0
    )
    torsion_kj_per_mol: float = key("k1 of the torsions, in k1 (1 - cos(phi - phi0)).", "kJ/mol", default=0.5, ge=0)
    threefold_torsion_kj_per_mol: float = key(
        "k3 of the torsions, in k3 (1 - cos 3(phi - phi0)).", "kJ/mol", default=0.25, ge=0
    )
    excluded_volume_nm: float = key(
        "sigma of the repulsion epsilon (sigma/r)^12 of beads at least 3 bonds apart.", "nm", default=0.45, gt=0
    )
    excluded_volume_kj_per_mol: float = key("epsilon of the repulsion.", "kJ/mol", default=1.0, ge=0)
    contact_cutoff_nm: float = key(
        "Beads at least 4 bonds apart and closer than this in the native structure are in contact.",
        "nm",
        default=0.8,
        gt=0,
    )
    contact_width_nm: float = key("Width w of a contact, in exp(-(r - r0)^2 / 2w^2).", "nm", default=0.05, gt=0)
    contact_kj_per_mol: float = key("A of the contact energy -A q - B q^2/N.", "kJ/mol", default=1.5, ge=0)
    cooperative_kj_per_mol: float = key(
        "B of the contact energy; the larger, the sharper the folding.", "kJ/mol", default=4.75, ge=0
    )


SystemSection = Annotated[
    SerializedSystemSection | AmberTopologySection | GromacsTopologySection | StructureBasedSection,
    Field(discriminator="kind"),
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
    "or a mapping with `kind: system`, `amber`, `gromacs` or `structure_based`."
)
PLATFORM = 'OpenMM platform, or "auto".'

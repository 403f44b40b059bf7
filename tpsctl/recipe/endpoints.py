"""The section `endpoints`: two structures of one molecule, or two points of a model potential."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from tpsctl.recipe.section import Section, key


class StructureEndSection(Section):
    """One end, from a structure file."""

    structure: Path = key("Structure file: PDB, mmCIF or GRO.")
    frame: int | None = key("Model of the file, counted from 0; needed if it has several.", "1", default=None, ge=0)


class TrajectoryEndSection(Section):
    """One end, from a frame of a trajectory."""

    trajectory: Path = key("Trajectory file: XTC, DCD, TRR, NetCDF or HDF5.")
    topology: Path = key("Structure file that names the trajectory's atoms.")
    frame: int = key("Frame of the trajectory, counted from 0.", "1", ge=0)


class PositionEndSection(Section):
    """One end, as a point of a model potential."""

    position_nm: tuple[float, ...] = key("Coordinates, one per dimension.", "nm", min_length=1, max_length=3)


def _end_kind(value: Any) -> str:
    return "trajectory" if _has(value, "trajectory") else "structure"


def _endpoints_kind(value: Any) -> str:
    start = value.get("start") if isinstance(value, dict) else getattr(value, "start", None)
    return "model" if _has(start, "position_nm") else "molecule"


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


MoleculeEndSection = Annotated[
    Annotated[StructureEndSection, Tag("structure")] | Annotated[TrajectoryEndSection, Tag("trajectory")],
    Discriminator(_end_kind),
]


class MoleculeEndpointsSection(Section):
    """Two structures of one molecule. Atoms are matched by name, then by bonds."""

    start: MoleculeEndSection = key("Structure A; its atom order is the order of all output.")
    end: MoleculeEndSection = key("Structure B; superposed on A.")
    select: str = key('Beads of the path, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)
    equivalent_atoms: Literal["relabel", "keep"] = key(
        "Labels of equivalent atoms (methyl hydrogens, sides of a ring): relabel exchanges them so that the path turns "
        "least; keep leaves them as given, for paths that exchange them (ring flips, methyl turns).",
        default="relabel",
    )
    minimize: bool = key(
        "Minimize both ends before anything else: on the prior's force field, else on that of validation.energy, else "
        "on the prior's own energy.",
        default=False,
    )


class PointEndpointsSection(Section):
    """Two points of a model potential."""

    start: PositionEndSection = key("Point A.")
    end: PositionEndSection = key("Point B.")


EndpointsSection = Annotated[
    Annotated[MoleculeEndpointsSection, Tag("molecule")] | Annotated[PointEndpointsSection, Tag("model")],
    Discriminator(_endpoints_kind),
]

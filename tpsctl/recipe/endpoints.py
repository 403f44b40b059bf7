"""The section `endpoints`: two structures of one molecule, or two points of a model potential."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tpsctl.recipe.section import Section, key


def _each_once(frames: tuple[int, ...]) -> tuple[int, ...]:
    twice = sorted({frame for frame in frames if frames.count(frame) > 1})
    if twice:
        raise ValueError(f"frame {twice[0]} is there {frames.count(twice[0])} times; give every frame once")
    return frames


class StructureEndSection(Section):
    """One end, from a structure file."""

    structure: Path = key("Structure file: PDB, mmCIF or GRO.")
    frame: int | None = key("Model of the file, counted from 0; needed if it has several.", "1", default=None, ge=0)


class TrajectoryEndSection(Section):
    """One end, from a frame of a trajectory."""

    trajectory: Path = key("Trajectory file: XTC, DCD, TRR, NetCDF or HDF5.")
    topology: Path = key("Structure file that names the trajectory's atoms.")
    frame: int = key("Frame of the trajectory, counted from 0.", "1", ge=0)


Frames = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_each_once)]


class StructureSetSection(Section):
    """A set of ends, from a structure file of several models; every path takes another one."""

    structure: Path = key("Structure file with several models: PDB or mmCIF.")
    frames: Frames = key(
        "Models of the file, counted from 0; path k takes number k, and after the last the first.", "1"
    )


class TrajectorySetSection(Section):
    """A set of ends, from frames of a trajectory; every path takes another one."""

    trajectory: Path = key("Trajectory file: XTC, DCD, TRR, NetCDF or HDF5.")
    topology: Path = key("Structure file that names the trajectory's atoms.")
    frames: Frames = key("Frames, counted from 0; path k takes number k, and after the last the first.", "1")


class PositionEndSection(Section):
    """One end, as a point of a model potential."""

    position_nm: tuple[float, ...] = key("Coordinates, one per dimension.", "nm", min_length=1, max_length=3)


def _end_kind(value: Any) -> str:
    kind = "trajectory" if _has(value, "trajectory") else "structure"
    return f"{kind} set" if _has(value, "frames") else kind


def _endpoints_kind(value: Any) -> str:
    start = value.get("start") if isinstance(value, dict) else getattr(value, "start", None)
    return "model" if _has(start, "position_nm") else "molecule"


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, dict) else hasattr(value, name)


MoleculeEndSection = Annotated[
    Annotated[StructureEndSection, Tag("structure")]
    | Annotated[TrajectoryEndSection, Tag("trajectory")]
    | Annotated[StructureSetSection, Tag("structure set")]
    | Annotated[TrajectorySetSection, Tag("trajectory set")],
    Discriminator(_end_kind),
]


class MoleculeEndpointsSection(Section):
    """Two structures of one molecule, or a set of them. Atoms are matched by name, then by bonds."""

    start: MoleculeEndSection = key("Structure A, or a set of frames; its atom order is the order of all output.")
    end: MoleculeEndSection = key("Structure B, or a set of frames; superposed on A.")
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

    @model_validator(mode="after")
    def _sets_fit(self) -> Self:
        sizes = [len(frames) for end in (self.start, self.end) if (frames := getattr(end, "frames", None)) is not None]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"endpoints: start has {sizes[0]} frames, end has {sizes[1]}; give equally many, which are taken "
                "pair by pair, or a single structure for one of them"
            )
        if sizes and self.minimize:
            raise ValueError("endpoints: a set of frames is taken as it is; leave minimize out, or give one frame each")
        return self


class PointEndpointsSection(Section):
    """Two points of a model potential."""

    start: PositionEndSection = key("Point A.")
    end: PositionEndSection = key("Point B.")


EndpointsSection = Annotated[
    Annotated[MoleculeEndpointsSection, Tag("molecule")] | Annotated[PointEndpointsSection, Tag("model")],
    Discriminator(_endpoints_kind),
]

"""The section `guide.success`, which says what samples of path guidance are wanted, and how structures are named."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.auto import DEFAULT_TEMPERATURE_K
from tpsctl.recipe.force_field import FORCE_FIELD, ForceFieldSection
from tpsctl.recipe.observables import ObservableSection, has_target
from tpsctl.recipe.section import Section, key
from tpsctl.recipe.states import StatesSection


class GuideFilesSection(Section):
    """Structures from files; every model of a file is one of them."""

    structures: tuple[Path, ...] = key("Structure files with the atoms of the prior.", min_length=1)
    select: str = key('Their beads, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)


class GuideFramesSection(Section):
    """Structures from frames of a trajectory."""

    trajectory: Path = key("Trajectory file: XTC, DCD, TRR, NetCDF or HDF5.")
    topology: Path = key("Structure file that names the trajectory's atoms.")
    frames: tuple[Annotated[int, Field(ge=0)], ...] = key("Frames, counted from 0.", "1", min_length=1)
    select: str = key('Their beads, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)


class GuidePointsSection(Section):
    """Points of a model potential."""

    points_nm: tuple[tuple[float, ...], ...] = key("Coordinates of each point.", "nm", min_length=1)


AnyStructuresSection = GuideFilesSection | GuideFramesSection | GuidePointsSection


class SuccessRangeSection(Section):
    """A range of an observable."""

    observable: ObservableSection = key("The observable, without a target.")
    low: float = key("Lower end, in the unit of the observable (nm, degrees, Hz or 1).", "of the observable")
    high: float = key(
        "Upper end, in the same unit; for a dihedral it may lie below the lower one, across 180 degrees.",
        "of the observable",
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if has_target(self.observable) or self.observable.held_out:
            raise ValueError("observable: a range of success takes no target and no held_out; give low and high")
        if self.low >= self.high and self.observable.kind != "dihedral":
            raise ValueError(f"low: got {self.low}, expected a number below high ({self.high})")
        return self


class RangesSuccessSection(Section):
    """A sample succeeds where every one of these observables is in its range."""

    kind: Literal["ranges"] = key("Ranges of collective variables.")
    ranges: tuple[SuccessRangeSection, ...] = key("The ranges.", min_length=1)


class ForceFieldShotsSection(Section):
    """Shots by Langevin dynamics of a force field, all-atom or coarse-grained."""

    kind: Literal["force_field"] = key("Langevin dynamics of a force field.")
    force_field: ForceFieldSection = key(FORCE_FIELD)
    temperature_k: float = key("Temperature.", "K", default=DEFAULT_TEMPERATURE_K, gt=0)
    friction_per_ps: float = key("Friction.", "1/ps", default=1.0, gt=0)
    dt_ps: float | None = key(
        "Time step; without this key, 0.001 or, for heavy beads, 0.005.", "ps", default=None, gt=0
    )
    longest_ps: float | None = key("Longest time of a shot; without this key, 20.", "ps", default=None, gt=0)


class PriorShotsSection(Section):
    """Shots by overdamped dynamics in the score of the prior at its diffusion time, with D = 1 nm^2/ps."""

    kind: Literal["prior"] = key("Overdamped dynamics of the prior.")
    dt_ps: float | None = key("Time step; without this key, found from the stiffness.", "ps", default=None, gt=0)
    longest_ps: float | None = key("Longest time of a shot; without this key, 50000 steps.", "ps", default=None, gt=0)


class ShotCountSection(Section):
    """How many shots a sample gets. They end early once the 95 % interval of its committor excludes the window."""

    least: int = key("Shots before anything is decided.", "1", default=10, ge=1)
    most: int = key("Most shots.", "1", default=100, ge=1)
    tuning: int = key("Most shots of a sample in an evaluation of the tuner.", "1", default=20, ge=1)

    @model_validator(mode="after")
    def _least_is_less(self) -> Self:
        for name, most in (("most", self.most), ("tuning", self.tuning)):
            if self.least > most:
                raise ValueError(f"shots.least: got {self.least}, expected no more than shots.{name} ({most})")
        return self


class CommittorSuccessSection(Section):
    """A sample succeeds where its committor, found by shooting, lies in a window."""

    kind: Literal["committor"] = key("The committor, by shooting.")
    ends: AnyStructuresSection = key("Two structures (or points), one in state A and one in state B.")
    states: StatesSection | None = key(
        "States A and B, as in validation.states of `tpsctl sample`; without this key, neighborhoods of the two ends.",
        default=None,
    )
    dynamics: Annotated[ForceFieldShotsSection | PriorShotsSection, Field(discriminator="kind")] = key(
        "The dynamics of the shots."
    )
    low: float = key("Lower end of the window.", "1", default=0.4, gt=0, lt=1)
    high: float = key("Upper end of the window.", "1", default=0.6, gt=0, lt=1)
    shots: ShotCountSection = key("How many shots.", default=ShotCountSection())

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: got {self.low}, expected a number below high ({self.high})")
        return self


class NeighborsSuccessSection(Section):
    """A sample succeeds where most of its nearest neighbors among labeled structures are wanted ones."""

    kind: Literal["neighbors"] = key("The nearest neighbors.")
    wanted: AnyStructuresSection = key("Structures (or points) of the kind that is wanted.")
    others: AnyStructuresSection = key("Structures (or points) of the other kind.")
    neighbors: int = key("Number of neighbors; odd, so that there is a majority.", "1", default=5, ge=3)
    features: Literal["superposed", "distances", "torsions"] = key(
        "In what they are near: RMSD after superposition, distances of all pairs of beads, or a dihedral about every "
        "bond. For points it is always their distance.",
        default="superposed",
    )

    @model_validator(mode="after")
    def _has_a_majority(self) -> Self:
        if self.neighbors % 2 == 0:
            raise ValueError(f"neighbors: got {self.neighbors}, expected an odd number, so that there is a majority")
        return self


SuccessSection = Annotated[
    RangesSuccessSection | CommittorSuccessSection | NeighborsSuccessSection, Field(discriminator="kind")
]

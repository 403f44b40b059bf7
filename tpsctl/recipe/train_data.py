"""The data of a recipe of `tpsctl train`: data sets of `tpsctl simulate`, or the user's own trajectories."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.section import Section, key


class TrajectorySplitSection(Section):
    """Whole trajectories are held out: the honest choice, because they are independent."""

    kind: Literal["trajectory"] = key("Whole trajectories are held out.")


class BlockSplitSection(Section):
    """Every trajectory is cut into blocks of equal length, and blocks are held out: for one long trajectory."""

    kind: Literal["block"] = key("Blocks of every trajectory are held out.")
    blocks: int = key("Blocks per trajectory; each must be much longer than correlations.", "1", default=10, ge=2)


SplitSection = Annotated[TrajectorySplitSection | BlockSplitSection, Field(discriminator="kind")]
_SPLIT = "What is held out together."
_HELD_OUT = "Whole trajectories, or blocks of each trajectory, kept from training, to judge the model by."


class EqualWeightsSection(Section):
    """Unbiased dynamics: every frame counts alike."""

    kind: Literal["equal"] = key("All frames count alike.")


class WeightsSection(Section):
    """A weight for every frame, as from WHAM or from reweighted metadynamics."""

    kind: Literal["weights"] = key("Weights are given.")
    files: tuple[Path, ...] = key(
        "One file per trajectory with one weight > 0 per frame: .npy, or text with one number per line.", min_length=1
    )


class BiasSection(Section):
    """The energy of a known bias at every frame, which must not have changed with time: weights are exp(V / kT)."""

    kind: Literal["bias"] = key("Bias energies are given.")
    files: tuple[Path, ...] = key(
        "One file per trajectory with one bias energy (kJ/mol) per frame: .npy, or text such as a PLUMED COLVAR file.",
        min_length=1,
    )
    column: str | None = key(
        "Column of text files, by its name in the line #! FIELDS, e.g. metad.bias; only column: not needed.",
        default=None,
        min_length=1,
    )


ReweightingSection = Annotated[EqualWeightsSection | WeightsSection | BiasSection, Field(discriminator="kind")]


class DatasetSection(Section):
    """A data set made by `tpsctl simulate`: positions, forces and, if there was one, the known bias."""

    kind: Literal["dataset"] = key("A tpsctl data set.")
    dataset: Path = key("Data set file (.npz).")
    use_forces: bool = key(
        "Also learn from the stored forces; the checkpoint says so. false: from positions alone.", default=True
    )
    held_out: int = key(_HELD_OUT, "1", default=1, ge=1)
    split: SplitSection = key(_SPLIT, default=TrajectorySplitSection(kind="trajectory"))


class NamedDatasetSection(Section):
    """The data set of one of several molecules."""

    dataset: Path = key("Data set file (.npz).")
    name: str | None = key("Name of the molecule in tables; none: that of the file.", default=None, min_length=1)

    @property
    def label(self) -> str:
        """The name of the molecule."""
        return self.name or self.dataset.stem


class SeveralDatasetsSection(Section):
    """Data sets of several molecules at one temperature, for one model with shared weights."""

    kind: Literal["datasets"] = key("Several tpsctl data sets, one per molecule.")
    datasets: tuple[NamedDatasetSection, ...] = key("The data sets.", min_length=2)
    use_forces: bool = key(
        "Also learn from the stored forces; the checkpoint says so. false: from positions alone.", default=True
    )
    held_out: int = key(_HELD_OUT, "1", default=1, ge=1)
    split: SplitSection = key(_SPLIT, default=TrajectorySplitSection(kind="trajectory"))

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        if len({one.label for one in self.datasets}) < len(self.datasets):
            raise ValueError("two data sets have the same name; give them a name each")
        return self


class TrajectoryDataSection(Section):
    """The user's own molecular dynamics, unbiased or with known weights: positions only."""

    kind: Literal["trajectories"] = key("Trajectory files of dynamics in equilibrium.")
    trajectories: tuple[Path, ...] = key(
        "Trajectory files (any format of MDTraj), selected molecules whole; each is one trajectory.", min_length=1
    )
    topology: Path = key("Structure file that names the trajectories' atoms and, where needed, their bonds.")
    temperature_k: float = key("Temperature of the dynamics.", "K", gt=0)
    select: str = key('Atoms to model, as an MDTraj selection, e.g. "protein".', default="all", min_length=1)
    stride: int = key("Take every n-th frame.", "1", default=1, ge=1)
    most_frames: int = key(
        "Frames kept in memory at most; beyond that the stride is doubled, and this is said.",
        "1",
        default=100_000,
        ge=10,
    )
    reweighting: ReweightingSection = key("What a frame counts.", default=EqualWeightsSection(kind="equal"))
    held_out: int = key(_HELD_OUT, "1", default=1, ge=1)
    split: SplitSection = key(_SPLIT, default=TrajectorySplitSection(kind="trajectory"))


DataSection = Annotated[DatasetSection | SeveralDatasetsSection | TrajectoryDataSection, Field(discriminator="kind")]

"""The recipe of `tpsctl train` for snapshots of a process in time: samples at several times, and no dynamics."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from tpsctl.recipe.section import Section, key


class SnapshotSection(Section):
    """Samples of the process at one time."""

    file: Path = key("Points (.npy, an array of frames by coordinates, nm), or a trajectory of a molecule.")
    time_ps: float = key("Time at which the samples were taken.", "ps")


class SnapshotsSection(Section):
    """Samples of a process at several times; which sample became which is not known."""

    kind: Literal["snapshots"] = key("Snapshots of a process.")
    snapshots: tuple[SnapshotSection, ...] = key("The snapshots, in the order of their times.", min_length=2)
    topology: Path | None = key("Structure file that names the atoms; none: the files are points (.npy).", default=None)
    select: str = key('Atoms to model, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)

    @model_validator(mode="after")
    def _times_rise(self) -> Self:
        for number, (a, b) in enumerate(zip(self.snapshots[:-1], self.snapshots[1:], strict=True), 2):
            if not a.time_ps < b.time_ps:
                raise ValueError(
                    f"snapshot {number} is at {b.time_ps:g} ps, not after {a.time_ps:g} ps; give them in order of time"
                )
        return self


class SnapshotModelSection(Section):
    """Action Matching: a scalar of position and time whose gradient carries one snapshot to the next."""

    kind: Literal["action_matching"] = key("Action Matching.")
    diffusion_nm2_per_ps: float = key(
        "D of the noise sqrt(2 D) dW of the learned dynamics; 0: no noise.", "nm^2/ps", default=0.0, ge=0
    )
    growth_length_nm: float | None = key(
        "Length over which moving a frame costs as much as letting its weight grow or decay (unbalanced Action "
        "Matching): the shorter, the more frames gain or lose weight in place of moving. Without it all weights "
        "stay 1.",
        "nm",
        default=None,
        gt=0,
    )
    weight_at_start: float = key(
        "Weight of the loss at the first snapshot; linear from there to the last.", "1", default=1.0, ge=0
    )
    weight_at_end: float = key(
        "Weight of the loss at the last snapshot; 0 spares it the variance of that end.", "1", default=1.0, ge=0
    )
    hidden: int = key("Width of the network's hidden layers.", "1", default=128, ge=1)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.weight_at_start == 0 and self.weight_at_end == 0:
            raise ValueError("weight_at_start and weight_at_end are both 0; at least one of them must be above 0")
        return self


class SnapshotOptimizationSection(Section):
    """How the network is fitted."""

    steps: int = key("Optimizer steps.", "1", default=10_000, ge=1)
    batch: int = key("Tracks per step.", "1", default=512, ge=2)
    learning_rate: float = key("Peak learning rate of Adam; it decays to 1 % of this.", "1", default=1e-3, gt=0)
    average: float = key("Decay per step of the running mean of the parameters.", "1", default=0.999, ge=0, lt=1)
    tracks: int = key("Tracks through paired frames of all snapshots.", "1", default=8192, ge=128)


class SnapshotOutputSection(Section):
    """The file to write."""

    checkpoint: Path = key("Checkpoint (.safetensors); never overwritten without --overwrite.")


class TrainSnapshotsRecipe(Section):
    """A complete description of one `tpsctl train` run on snapshots."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the model.", min_length=1)
    seed: int = key("Seed of all random numbers.", "1", ge=0)
    data: SnapshotsSection = key("The snapshots.")
    model: SnapshotModelSection = key("The model.", default=SnapshotModelSection(kind="action_matching"))
    optimize: SnapshotOptimizationSection = key("How the model is fitted.", default=SnapshotOptimizationSection())
    output: SnapshotOutputSection = key("The checkpoint.")

"""The section `prior`: where the score comes from."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tpsctl.recipe.auto import AUTO, FractionOrAuto
from tpsctl.recipe.force_field import FORCE_FIELD, PLATFORM, ForceFieldSection
from tpsctl.recipe.section import Section, key


class CheckpointPriorSection(Section):
    """A trained generative model."""

    kind: Literal["checkpoint"] = key("A trained model.")
    checkpoint: Path = key("Checkpoint file.")
    diffusion_time: FractionOrAuto = key(
        "Diffusion time at which the score is used; 0 is data, 1 is noise; auto: chosen for this model.",
        "1",
        default=AUTO,
    )
    precision: Literal["float32", "tf32", "float64"] = key(
        "Precision in which the network computes. tf32: float32, whose matrix products round their factors to 10 bits "
        "on GPUs that can; on a CPU the same as float32.",
        default="float32",
    )
    accept_unfit: bool = key(
        "Use the checkpoint even where its own verdict is that it, or this diffusion time, is unfit for paths.",
        default=False,
    )


class OpenMMPriorSection(Section):
    """A force field as the prior: score = force / kT. Paths are then classical Onsager-Machlup paths."""

    kind: Literal["openmm"] = key("A force field.")
    force_field: ForceFieldSection = key(FORCE_FIELD)
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)
    platform: str = key(PLATFORM, default="auto")


class MuellerBrownPriorSection(Section):
    """The Mueller-Brown potential in two dimensions, in the published rescaling."""

    kind: Literal["mueller_brown"] = key("The Mueller-Brown potential.")
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)


class DoubleWellPriorSection(Section):
    """A double well along the first coordinate, harmonic in the others; minima at -a and a."""

    kind: Literal["double_well"] = key("A double well.")
    barrier_kj_per_mol: float = key("Height of the barrier.", "kJ/mol", default=20.0, gt=0)
    half_distance_nm: float = key("a, the distance of each minimum from the barrier.", "nm", default=0.1, gt=0)
    stiffness_kj_per_mol_nm2: float = key(
        "Spring constant of the other coordinates.", "kJ/mol/nm^2", default=1000.0, gt=0
    )
    temperature_k: float = key("Temperature in score = force / kT.", "K", gt=0)


class GaussianPriorSection(Section):
    """A Gaussian around a point: the exactly solvable harmonic prior."""

    kind: Literal["gaussian"] = key("A Gaussian (harmonic) prior.")
    mean_nm: tuple[float, ...] = key("Center, one coordinate per dimension.", "nm", min_length=1, max_length=3)
    std_nm: float = key("Standard deviation.", "nm", gt=0)
    diffusion_time: float = key("Diffusion time; 0 is data, 1 is noise.", "1", default=0.0, ge=0, le=1)


class SnapshotsPriorSection(Section):
    """The field between snapshots of a process, as `tpsctl train` learns it; for `action.functional: transport`."""

    kind: Literal["snapshots"] = key("A field between snapshots.")
    checkpoint: Path = key("Checkpoint file.")
    accept_unfit: bool = key(
        "Use the checkpoint even where its own verdict is that it is unfit for paths.",
        default=False,
    )


class PluginPriorSection(Section):
    """A prior that another installed package provides (entry-point group tpsctl.priors)."""

    kind: Literal["plugin"] = key("A plug-in.")
    name: str = key("Name of the prior, as its package gives it.", min_length=1)
    diffusion_time: float = key("Diffusion time; 0 is data, 1 is noise.", "1", default=0.0, ge=0, le=1)
    options: dict[str, Any] = key("Its own settings, as its package describes them.", default={})


PriorSection = Annotated[
    CheckpointPriorSection
    | OpenMMPriorSection
    | MuellerBrownPriorSection
    | DoubleWellPriorSection
    | GaussianPriorSection
    | SnapshotsPriorSection
    | PluginPriorSection,
    Field(discriminator="kind"),
]

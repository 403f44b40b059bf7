"""The recipe of `tpsctl train`: frames of a molecule, the kind of model, how long to train, where to put it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.section import Section, key


class DatasetSection(Section):
    """A data set made by `tpsctl simulate`: positions, forces and, if there was one, the known bias."""

    kind: Literal["dataset"] = key("A tpsctl data set.")
    dataset: Path = key("Data set file (.npz).")
    use_forces: bool = key(
        "Also learn from the stored forces; the checkpoint says so. false: from positions alone.", default=True
    )
    held_out: int = key("Whole trajectories kept from training, to judge the model by.", "1", default=1, ge=1)


class TrajectoryDataSection(Section):
    """The user's own molecular dynamics, without a bias: positions only."""

    kind: Literal["trajectories"] = key("Trajectory files of unbiased dynamics.")
    trajectories: tuple[Path, ...] = key(
        "Trajectory files (DCD, XTC, TRR, NetCDF, HDF5), molecules whole; each is one trajectory.", min_length=2
    )
    topology: Path = key("Structure file that names the trajectories' atoms and, where needed, their bonds.")
    temperature_k: float = key("Temperature of the dynamics.", "K", gt=0)
    select: str = key('Atoms to model, as an MDTraj selection, e.g. "protein".', default="all", min_length=1)
    stride: int = key("Take every n-th frame.", "1", default=1, ge=1)
    held_out: int = key("Whole trajectories kept from training, to judge the model by.", "1", default=1, ge=1)


DataSection = Annotated[DatasetSection | TrajectoryDataSection, Field(discriminator="kind")]


class VarianceExplodingSection(Section):
    """x_t = x_0 + sigma(t) noise, sigma geometric between the two widths of the model."""

    kind: Literal["variance_exploding"] = key("Data unchanged, noise growing.")


class VariancePreservingSection(Section):
    """x_t = alpha(t) x_0 + sigma(t) noise with the cosine law."""

    kind: Literal["variance_preserving"] = key("Data shrinking, noise growing.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)


class NetworkSection(Section):
    """What all models share: the noise widths they know and the size of the network."""

    smallest_width_nm: float = key(
        "Smallest noise width: how close to the data the score is known.", "nm", default=0.00025, gt=0
    )
    largest_width_nm: float = key(
        "Largest noise width: several times the molecule, so that noise hides it.", "nm", default=1.0, gt=0
    )
    levels: int = key("Noise widths with tables and a fitted linear energy.", "1", default=32, ge=2)
    hidden: int = key("Width of the network's hidden layers.", "1", default=384, ge=1)
    layers: int = key("Number of hidden layers.", "1", default=3, ge=1)
    embedding: int = key("Radial functions that tell the network the noise width.", "1", default=24, ge=2)

    @model_validator(mode="after")
    def _widths_in_order(self) -> Self:
        if self.smallest_width_nm >= self.largest_width_nm:
            raise ValueError(
                f"smallest_width_nm ({self.smallest_width_nm:g} nm) must be less than "
                f"largest_width_nm ({self.largest_width_nm:g} nm)"
            )
        return self


class DiffusionModelSection(NetworkSection):
    """Denoising diffusion: widths are drawn evenly on a logarithmic scale."""

    kind: Literal["diffusion"] = key("Denoising diffusion.")
    schedule: Annotated[VarianceExplodingSection | VariancePreservingSection, Field(discriminator="kind")] = key(
        "What diffusion time t means.", default=VarianceExplodingSection(kind="variance_exploding")
    )


class FlowMatchingModelSection(NetworkSection):
    """Flow matching on the straight path x_t = (1 - t) x_0 + t scale noise."""

    kind: Literal["flow_matching"] = key("Flow matching.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)
    uniform_time: float = key(
        "Fraction of each batch drawn uniformly in t; the rest evenly in log width.", "1", default=0.5, ge=0, le=1
    )


ModelSection = Annotated[DiffusionModelSection | FlowMatchingModelSection, Field(discriminator="kind")]


class OptimizationSection(Section):
    """How the model is fitted: a linear part in closed form, the network by stochastic gradient descent."""

    steps: int = key("Optimizer steps.", "1", default=20000, ge=1)
    batch: int = key("Noised structures per step.", "1", default=256, ge=2)
    learning_rate: float = key("Peak learning rate of Adam; it decays to 1 % of this.", "1", default=1e-3, gt=0)
    torsion_weight: float = key(
        "Weight of the torques about rotatable bonds in the loss; they decide barriers.", "1", default=1.0, ge=0
    )
    average: float = key("Decay per step of the running mean of the parameters.", "1", default=0.999, ge=0, lt=1)
    linear_samples: int = key("Noised structures per width in the linear fit.", "1", default=8000, ge=500)
    precision: Literal["float32", "tf32"] = key(
        "Matrix products of the steps. tf32: on GPUs that can, their factors are rounded to 10 bits, which is faster.",
        default="float32",
    )


class CheckpointOutputSection(Section):
    """The file to write."""

    checkpoint: Path = key("Checkpoint (.safetensors); never overwritten without --overwrite.")
    licence: str = key("Licence of the checkpoint, for its model card.", default="unspecified", min_length=1)


class TrainRecipe(Section):
    """A complete description of one `tpsctl train` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the model.", min_length=1)
    seed: int = key("Seed of all random numbers, of the split too.", "1", ge=0)
    data: DataSection = key("The training data.")
    model: ModelSection = key("The model that is trained.")
    optimize: OptimizationSection = key("How the model is fitted.", default=OptimizationSection())
    output: CheckpointOutputSection = key("The checkpoint.")

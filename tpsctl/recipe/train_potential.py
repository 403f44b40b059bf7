"""The recipe of `tpsctl train` for a point in a model potential: no molecule, no dynamics, a small network."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.section import Section, key


class MuellerBrownPotentialSection(Section):
    """The Mueller-Brown surface, in the published rescaling."""

    kind: Literal["mueller_brown"] = key("The Mueller-Brown potential.")
    temperature_k: float = key("Temperature; 120.2724 K is kT = 1 kJ/mol.", "K", gt=0)
    samples: int = key("Independent points drawn from the Boltzmann distribution.", "1", default=1_000_000, ge=1000)


class PointDiffusionSection(Section):
    """Denoising diffusion on the discrete cosine schedule: the network predicts the noise."""

    kind: Literal["diffusion"] = key("Denoising diffusion.")
    levels: int = key("Levels of the cosine schedule.", "1", default=256, ge=2)
    hidden: int = key("Width of the network's hidden layers.", "1", default=128, ge=1)


class PointFlowSection(Section):
    """Flow matching on straight lines: the network predicts the velocity towards data."""

    kind: Literal["flow_matching"] = key("Flow matching.")
    hidden: int = key("Width of the network's hidden layers.", "1", default=128, ge=1)
    conservative: bool = key("Whether the velocity is the gradient of an energy.", default=False)


class PointScoreMatchingSection(Section):
    """Score matching from the action principle, for any noise schedule: the network predicts the noise."""

    kind: Literal["score_matching"] = key("Score matching.")
    schedule: Literal[
        "variance_exploding", "variance_preserving", "linear_variance_preserving", "sub_variance_preserving", "flow"
    ] = key("How much noise belongs to a diffusion time t.", default="linear_variance_preserving")
    form: Literal["denoising", "implicit"] = key(
        "denoising: against the noise that was added. implicit: with the divergence of the score, from random signs.",
        default="denoising",
    )
    weight: Literal["likelihood", "simple"] = key(
        "Weight of a time in the loss. likelihood: g^2, so that the loss bounds -log p. simple: sigma^2.",
        default="likelihood",
    )
    times: Literal["importance", "uniform"] = key(
        "Law of the times of a batch. importance: in proportion to g^2/sigma^2, least noisy for the likelihood weight.",
        default="importance",
    )
    smallest_width: float = key(
        "Smallest noise width sigma/alpha, in standard deviations of the data.", "1", default=0.02, gt=0, le=1
    )
    largest_width: float = key(
        "Largest noise width, in standard deviations of the data; noise has to hide the data.", "1", default=50.0, ge=5
    )
    hidden: int = key("Width of the network's hidden layers.", "1", default=128, ge=1)
    conservative: bool = key("Whether the score is the gradient of an energy.", default=False)


class PointBridgeSection(Section):
    """A Schroedinger bridge: the process from the law of data to noise that is closest to Brownian motion.

    Half steps learn the drifts of both directions in turns, each from paths that the other direction draws.
    """

    kind: Literal["schroedinger_bridge"] = key("Schroedinger bridge.")
    half_steps: int = key(
        "Number of half steps, beginning towards data; optimize.steps are shared among them.", "1", default=6, ge=1
    )
    noise: float = key("Strength of the Brownian motion, in standard deviations of the data.", "1", default=1.0, gt=0)
    hidden: int = key("Width of the networks' hidden layers.", "1", default=128, ge=1)


class PointActionMatchingSection(Section):
    """Action Matching on straight lines: the network is a scalar whose gradient carries noise to data."""

    kind: Literal["action_matching"] = key("Action Matching.")
    noise: float = key(
        "Strength of the noise of the learned dynamics, in spreads of the data per square root of the time from noise "
        "to data; 0: plain, above 0: entropic Action Matching.",
        "1",
        default=0.0,
        ge=0,
    )
    weight_at_noise: float = key(
        "Weight of the loss at the noise; linear from there to the data.", "1", default=1.0, ge=0
    )
    weight_at_data: float = key(
        "Weight of the loss at the data; 0 spares it the variance of that end.", "1", default=1.0, ge=0
    )
    hidden: int = key("Width of the network's hidden layers.", "1", default=128, ge=1)

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.weight_at_noise == 0 and self.weight_at_data == 0:
            raise ValueError("weight_at_noise and weight_at_data are both 0; at least one of them must be above 0")
        return self


class PointOptimizationSection(Section):
    """How the network is fitted."""

    steps: int = key("Optimizer steps.", "1", default=20_000, ge=1)
    batch: int = key("Noised points per step.", "1", default=2048, ge=2)
    learning_rate: float = key("Peak learning rate of Adam; it decays to 1 % of this.", "1", default=1e-3, gt=0)
    average: float = key("Decay per step of the running mean of the parameters.", "1", default=0.999, ge=0, lt=1)
    small_times: float = key(
        "Fraction of a batch with t below 0.1, where paths are sought. Not for score_matching and bridges.",
        "1",
        default=0.5,
        ge=0,
        le=1,
    )


PointModelSection = (
    PointDiffusionSection
    | PointFlowSection
    | PointActionMatchingSection
    | PointScoreMatchingSection
    | PointBridgeSection
)


class PointOutputSection(Section):
    """The file to write."""

    checkpoint: Path = key("Checkpoint (.safetensors); never overwritten without --overwrite.")


class TrainPotentialRecipe(Section):
    """A complete description of one `tpsctl train` run on a model potential."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the model.", min_length=1)
    seed: int = key("Seed of all random numbers.", "1", ge=0)
    potential: MuellerBrownPotentialSection = key("The potential that the training data come from.")
    model: Annotated[PointModelSection, Field(discriminator="kind")] = key("The model.")
    optimize: PointOptimizationSection = key("How the model is fitted.", default=PointOptimizationSection())
    output: PointOutputSection = key("The checkpoint.")

    @model_validator(mode="after")
    def _one_law_of_times(self) -> Self:
        own = isinstance(self.model, PointScoreMatchingSection | PointBridgeSection)
        if own and "small_times" in self.optimize.model_fields_set:
            raise ValueError(
                f"optimize.small_times is not for model.kind {self.model.kind}, which has its own law of times; "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _steps_for_every_half_step(self) -> Self:
        if isinstance(self.model, PointBridgeSection) and self.optimize.steps < self.model.half_steps:
            raise ValueError(
                f"optimize.steps ({self.optimize.steps}) must be at least model.half_steps ({self.model.half_steps})"
            )
        return self

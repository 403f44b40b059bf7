"""The recipe of `tpsctl train`: frames of a molecule, the kind of model, how long to train, where to put it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.auto import AUTO, CountOrAuto, PositiveOrAuto, SeveralOrAuto
from tpsctl.recipe.section import Section, key
from tpsctl.recipe.train_data import (  # noqa: F401
    BiasSection,
    BlockSplitSection,
    DataSection,
    DatasetSection,
    EqualWeightsSection,
    NamedDatasetSection,
    ReweightingSection,
    SeveralDatasetsSection,
    SplitSection,
    TrajectoryDataSection,
    TrajectorySplitSection,
    WeightsSection,
)


class VarianceExplodingSection(Section):
    """x_t = x_0 + sigma(t) noise, sigma geometric between the two widths of the model."""

    kind: Literal["variance_exploding"] = key("Data unchanged, noise growing.")


class VariancePreservingSection(Section):
    """x_t = alpha(t) x_0 + sigma(t) noise with the cosine law."""

    kind: Literal["variance_preserving"] = key("Data shrinking, noise growing.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)


class LinearVariancePreservingSection(Section):
    """x_t = alpha(t) x_0 + sigma(t) noise, where alpha decays at a rate that grows linearly from 0.1 to 20."""

    kind: Literal["linear_variance_preserving"] = key("Data shrinking at a linear rate, noise growing.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)


class SubVariancePreservingSection(Section):
    """x_t = alpha(t) x_0 + scale (1 - alpha(t)^2) noise, with the same alpha: less noise at every t."""

    kind: Literal["sub_variance_preserving"] = key("Data shrinking at a linear rate, noise growing more slowly.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)


ScheduleSection = Annotated[
    VarianceExplodingSection
    | VariancePreservingSection
    | LinearVariancePreservingSection
    | SubVariancePreservingSection,
    Field(discriminator="kind"),
]


class AutomaticNetworkSection(Section):
    """The network that suits the beads."""

    kind: Literal["auto"] = key(
        "chain_energy for C-alpha and other coarse-grained beads, internal_energy for atoms, transformer_energy for "
        "several molecules."
    )


class InternalEnergySection(Section):
    """For small molecules: a fitted force field, and a perceptron on distances, torsions and handedness."""

    kind: Literal["internal_energy"] = key("Energy of internal coordinates.")


class ChainEnergySection(Section):
    """For chains of beads: fitted energies of all pairs, and a perceptron on distances and handedness."""

    kind: Literal["chain_energy"] = key("Energy of pair distances and of the handedness along a chain.")
    gaussians: int = key("Gaussians per pair of beads in the fitted energy.", "1", default=12, ge=2)


class TransformerEnergySection(Section):
    """For chains of beads: a graph transformer on top of the fitted energies of all pairs, or alone. Slow on a CPU."""

    kind: Literal["transformer_energy"] = key("Energy of a graph transformer, the network of the published models.")
    pair_energy: bool = key("Fit energies of all pairs first; false: the transformer learns everything.", default=True)
    gaussians: int = key("Gaussians per pair of beads in the fitted energy.", "1", default=12, ge=2)
    heads: int = key("Attention heads.", "1", default=8, ge=1)
    head_dim: int = key("Width of an attention head.", "1", default=16, ge=1)


MoleculeNetworkSection = Annotated[
    AutomaticNetworkSection | InternalEnergySection | ChainEnergySection | TransformerEnergySection,
    Field(discriminator="kind"),
]


class NetworkSection(Section):
    """What all models share: the network, its size, and the noise widths it knows."""

    network: MoleculeNetworkSection = key("The network.", default=AutomaticNetworkSection(kind="auto"))
    smallest_width_nm: PositiveOrAuto = key(
        "Smallest noise width: how close to the data the score is known. auto: 0.00025 for an internal energy, "
        "0.01 for chains of beads.",
        "nm",
        default=AUTO,
    )
    largest_width_nm: PositiveOrAuto = key(
        "Largest noise width: several times the molecule, so that noise hides it. auto: 1 for an internal energy, "
        "3 for chains of beads.",
        "nm",
        default=AUTO,
    )
    levels: SeveralOrAuto = key(
        "Noise widths with tables and a fitted linear energy. auto: 32 for an internal energy, 16 for chains.",
        "1",
        default=AUTO,
    )
    hidden: CountOrAuto = key(
        "Width of the network's hidden layers. auto: 384 for an internal energy, 192 for a chain energy, 64 for a "
        "transformer energy.",
        "1",
        default=AUTO,
    )
    layers: CountOrAuto = key(
        "Number of hidden layers, or of blocks. auto: 3, and 2 for a transformer energy.", "1", default=AUTO
    )
    embedding: SeveralOrAuto = key(
        "Radial functions that tell the network the noise width. auto: 24 for an internal energy, 16 for a chain "
        "energy; a transformer energy has none.",
        "1",
        default=AUTO,
    )

    @model_validator(mode="after")
    def _widths_in_order(self) -> Self:
        smallest, largest = self.smallest_width_nm, self.largest_width_nm
        if isinstance(smallest, float) and isinstance(largest, float) and smallest >= largest:
            raise ValueError(f"smallest_width_nm ({smallest:g} nm) must be less than largest_width_nm ({largest:g} nm)")
        return self


class DiffusionModelSection(NetworkSection):
    """Denoising diffusion: widths are drawn evenly on a logarithmic scale."""

    kind: Literal["diffusion"] = key("Denoising diffusion.")
    schedule: ScheduleSection = key(
        "What diffusion time t means.", default=VarianceExplodingSection(kind="variance_exploding")
    )


class FlowMatchingModelSection(NetworkSection):
    """Flow matching: regression of the velocity on the straight path x_t = (1 - t) x_0 + t scale noise.

    The velocity is the gradient of an energy, from which the score follows.
    """

    kind: Literal["flow_matching"] = key("Flow matching.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)
    uniform_time: float = key(
        "Fraction of each batch drawn uniformly in t; the rest has more small widths, where paths are sought.",
        "1",
        default=0.5,
        ge=0,
        le=1,
    )


class ScoreMatchingModelSection(NetworkSection):
    """Score matching from the action principle: times and weights of the schedule decide which widths count."""

    kind: Literal["score_matching"] = key("Score matching.")
    schedule: ScheduleSection = key(
        "What diffusion time t means, and which noise widths count.",
        default=LinearVariancePreservingSection(kind="linear_variance_preserving"),
    )
    weight: Literal["likelihood", "simple"] = key(
        "Weight of a time in the loss. likelihood: g^2, so that the loss bounds -log p. simple: sigma^2.",
        default="likelihood",
    )
    times: Literal["importance", "uniform"] = key(
        "Law of the times of a batch. importance: in proportion to g^2/sigma^2, least noisy for the likelihood weight.",
        default="importance",
    )


class ActionMatchingModelSection(NetworkSection):
    """Action Matching on the straight path from noise to data: the loss is no regression and uses no forces.

    The potential of the path is a function of the energy, from which the score follows.
    """

    kind: Literal["action_matching"] = key("Action Matching.")
    scale_nm: float = key("Width of the noise at t = 1; about the size of the molecule.", "nm", default=0.3, gt=0)
    noise: float = key(
        "Strength of the noise of the learned dynamics, in scale_nm per square root of the time from noise to data; "
        "0: plain, above 0: entropic Action Matching.",
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
    small_times: float = key(
        "Fraction of each batch drawn in the tenth of the times next to the data, where paths are sought.",
        "1",
        default=0.5,
        ge=0,
        lt=1,
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.weight_at_noise == 0 and self.weight_at_data == 0:
            raise ValueError("weight_at_noise and weight_at_data are both 0; at least one of them must be above 0")
        return self


ModelSection = Annotated[
    DiffusionModelSection | FlowMatchingModelSection | ScoreMatchingModelSection | ActionMatchingModelSection,
    Field(discriminator="kind"),
]


class OptimizationSection(Section):
    """How the model is fitted: a linear part in closed form, the network by stochastic gradient descent."""

    steps: int = key("Optimizer steps.", "1", default=20000, ge=1)
    batch: int = key("Noised structures per step.", "1", default=256, ge=2)
    learning_rate: float = key("Peak learning rate of Adam; it decays to 1 % of this.", "1", default=1e-3, gt=0)
    torsion_weight: float = key(
        "Weight of the torques about rotatable bonds in the loss; they decide barriers. Not for action_matching.",
        "1",
        default=1.0,
        ge=0,
    )
    average: float = key("Decay per step of the running mean of the parameters.", "1", default=0.999, ge=0, lt=1)
    linear_samples: int = key("Noised structures per width in the linear fit.", "1", default=8000, ge=500)
    precision: Literal["float32", "tf32", "bf16"] = key(
        "Matrix products of the steps. tf32: on GPUs that can, their factors are rounded to 10 bits, which is faster. "
        "bf16: the factors of the network's products are rounded to 8 bits; positions and parameters stay in float32.",
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

    @model_validator(mode="after")
    def _torsions_in_a_regression(self) -> Self:
        if isinstance(self.model, ActionMatchingModelSection) and "torsion_weight" in self.optimize.model_fields_set:
            raise ValueError(
                "optimize.torsion_weight is not for model.kind action_matching, whose loss has no errors of torques; "
                "leave it out"
            )
        return self

    @model_validator(mode="after")
    def _one_molecule_for_action_matching(self) -> Self:
        if isinstance(self.model, ActionMatchingModelSection) and isinstance(self.data, SeveralDatasetsSection):
            raise ValueError(
                "model.kind: got action_matching, which is for one molecule; data.kind: datasets needs diffusion, "
                "score_matching or flow_matching"
            )
        return self

    @model_validator(mode="after")
    def _one_network_for_several_molecules(self) -> Self:
        kind = self.model.network.kind
        if isinstance(self.data, SeveralDatasetsSection) and kind not in ("auto", "transformer_energy"):
            raise ValueError(
                f"model.network.kind: got {kind}, which is for one molecule; data.kind: datasets needs "
                "transformer_energy, the only network that molecules can share"
            )
        return self

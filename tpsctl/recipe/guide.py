"""The recipe of `tpsctl guide`: a prior, what its samples are guided to, how many are drawn, where they go."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.auto import AUTO, PositiveOrAuto
from tpsctl.recipe.guide_success import AnyStructuresSection, SuccessSection
from tpsctl.recipe.observables import ObservableSection, has_target
from tpsctl.recipe.prior import CheckpointPriorSection, GaussianPriorSection
from tpsctl.recipe.section import Section, key


class GuidedMoleculeSection(Section):
    """The molecule of a checkpoint that does not store its atoms."""

    structure: Path = key("Structure file with the beads of the prior: PDB, mmCIF or GRO.")
    select: str = key('Its beads, as an MDTraj selection, e.g. "name CA".', default="all", min_length=1)


class TuneSection(Section):
    """Numbers chosen by Gaussian-process optimization, with the same random numbers in every evaluation."""

    evaluations: int = key("Evaluations in all.", "1", default=24, ge=4)
    initial: int = key("Of these, evaluations at evenly spread points before the first model.", "1", default=8, ge=2)
    samples: int = key("Samples per evaluation.", "1", default=64, ge=8)
    work_weight: float = key("gamma_w: what one nat of excess work costs in the objective.", "1", default=0.1, ge=0)

    @model_validator(mode="after")
    def _some_are_chosen(self) -> Self:
        if self.initial >= self.evaluations:
            raise ValueError(f"tune.initial: got {self.initial}, expected less than evaluations ({self.evaluations})")
        return self


class ExponentialStrengthSection(Section):
    """Strength a exp(-b t) at diffusion time t."""

    height: float = key("a.", "1", default=1.0, ge=0)
    decay: float = key("b.", "1", default=0.0, ge=0)


class ObservableGuidanceSection(Section):
    """Samples whose averages of observables are those of an experiment, with the least excess work."""

    kind: Literal["observables"] = key("Guidance to averages of observables.")
    observables: tuple[ObservableSection, ...] = key("What was measured.", min_length=1)
    evaluate: Literal["denoised", "noised"] = key(
        "Where observables are differentiated: at the posterior mean of the clean structure, or at the noised one.",
        default="denoised",
    )
    strength: ExponentialStrengthSection = key(
        "The strength, unless it is tuned.", default=ExponentialStrengthSection()
    )
    tune: TuneSection | None = key(
        "Choose a and b of the strength by the squared deviations from the targets; without it, as given.", default=None
    )
    baseline: bool = key("Draw samples by classifier guidance, too, to compare with.", default=True)

    @model_validator(mode="after")
    def _something_is_fitted(self) -> Self:
        fitted = [observable for observable in self.observables if not observable.held_out]
        if not fitted:
            raise ValueError("guide.observables: all are held_out, so there is nothing to guide to; fit at least one")
        for k, observable in enumerate(self.observables):
            if not observable.held_out and not has_target(observable):
                raise ValueError(
                    f"guide.observables.{k}: has no target; give one, or set held_out: true to have it only predicted"
                )
        return self


class SigmoidStrengthSection(Section):
    """Strength a [1 - sigmoid(k (t - b))] at diffusion time t."""

    height: float = key("a.", "1", default=1.0, ge=0)
    slope: float = key("k.", "1", default=20.0, gt=0)
    midpoint: float = key("b.", "1", default=0.5)


class SigmoidBandwidthSection(Section):
    """Bandwidth a + sigmoid(k (t - b)) at diffusion time t, in units of the spread of the data's coordinates.

    For a kernel in torsions it is in rad.
    """

    floor: PositiveOrAuto = key(
        "a; auto: the distance of guides from one another, or that of unguided samples to their nearest neighbors if "
        "that is larger, as the standard deviation of a coordinate.",
        "1",
        default=AUTO,
    )
    slope: float = key("k.", "1", default=20.0, gt=0)
    midpoint: float = key("b.", "1", default=0.7)


class SuperposedKernelSection(Section):
    """Samples near the guides in all coordinates, molecules after superposition, as published."""

    kind: Literal["superposed"] = key("All coordinates, of molecules after superposition.")


class TorsionKernelSection(Section):
    """Samples near the guides in torsions; bonds, angles and other torsions stay as the prior has them."""

    kind: Literal["torsions"] = key("Torsions. The bandwidth is then an angle in rad.")
    torsions: tuple[str, ...] | None = key(
        "Their names, e.g. phi ALA2; none: one for each bond that can turn, groups of three hydrogens left out.",
        default=None,
        min_length=1,
    )


class CommittorKernelSection(Section):
    """Samples near the surface on which the committor is one half, by a reaction coordinate that shots teach.

    It has a strength and a bandwidth of its own, the latter in logits of the committor.
    """

    kind: Literal["committor"] = key("The committor, fitted to shots in rounds.")
    turning: tuple[str, ...] | None = key(
        "Torsions whose harmonics multiply all other features; none: those that turn by 30 degrees and more between "
        "the ends, at most three, and contacts instead of torsions for chains of beads.",
        default=None,
        min_length=1,
    )
    rounds: int = key("Most rounds of samples that teach, after the unguided ones.", "1", default=8, ge=0)
    samples: int = key("Samples per round.", "1", default=200, ge=10)
    shots: int = key("Shots from each of them.", "1", default=5, ge=1)
    near_rad: PositiveOrAuto = key(
        "Samples stay near the guides by a kernel of this bandwidth in all torsions; auto: 0.3 for atoms, and no "
        "such kernel for chains of beads and points.",
        "rad",
        default=AUTO,
    )
    near_midpoint: float = key("Time above which that kernel ends.", "1", default=0.4)
    strength: SigmoidStrengthSection = key(
        "The strength, unless it is tuned.", default=SigmoidStrengthSection(height=2.0, midpoint=0.16)
    )
    bandwidth: SigmoidBandwidthSection = key(
        "The bandwidth in logits, unless it is tuned; auto: 0.3.", default=SigmoidBandwidthSection(floor=0.3)
    )


KernelSection = Annotated[
    SuperposedKernelSection | TorsionKernelSection | CommittorKernelSection, Field(discriminator="kind")
]


_GIVEN = {"strength": SigmoidStrengthSection(), "bandwidth": SigmoidBandwidthSection()}


class PathGuidanceSection(Section):
    """Samples near a few structures, e.g. images of transition states, by a kernel density that follows them."""

    kind: Literal["path"] = key("Guidance along the paths of a few structures to noise.")
    guides: AnyStructuresSection = key("The guiding structures, at least two.")
    success: SuccessSection = key("Which samples are wanted.")
    kernel: KernelSection = key(
        "In what samples are drawn to the guides.", default=SuperposedKernelSection(kind="superposed")
    )
    strength: SigmoidStrengthSection = key("The strength, unless it is tuned.", default=SigmoidStrengthSection())
    bandwidth: SigmoidBandwidthSection = key("The bandwidth, unless it is tuned.", default=SigmoidBandwidthSection())
    tune: TuneSection | None = key(
        "Choose a and b of strength and bandwidth by (1 - success) + gamma_w work; without it, as given.", default=None
    )
    sensitivity: bool = key("Draw samples at half and at twice the bandwidth, too, to compare with.", default=True)

    @model_validator(mode="after")
    def _committors_are_known(self) -> Self:
        if isinstance(self.kernel, CommittorKernelSection) and self.success.kind != "committor":
            raise ValueError(
                f"guide.kernel: kind: committor is taught by shots, and success is kind: {self.success.kind}. Use "
                "success: {kind: committor, ...}, or another kernel"
            )
        for name in ("strength", "bandwidth"):
            if isinstance(self.kernel, CommittorKernelSection) and getattr(self, name) != _GIVEN[name]:
                raise ValueError(
                    f"guide.{name}: is that of the kernels superposed and torsions. Give guide.kernel.{name} instead"
                )
        return self


class GuidedSamplingSection(Section):
    """How samples are drawn."""

    samples: int = key("Guided samples, and as many unguided ones to compare with.", "1", default=400, ge=10)
    steps: int = key("Steps from noise to data.", "1", default=100, ge=2)
    corrections: int = key(
        "Langevin steps at every noise width, guided too; they mend basin weights and cost excess work.",
        "1",
        default=0,
        ge=0,
    )
    process: Literal["stochastic", "ode"] = key("The reverse process.", default="stochastic")
    batch_samples: int = key("Samples that are drawn together; a kill costs at most these.", "1", default=100, ge=1)


class GuideOutputSection(Section):
    """The files to write, and their directory."""

    directory: Path = key("Run directory; made new, never overwritten without --overwrite.")
    ensembles: tuple[Literal["dcd", "xtc", "pdb"], ...] = key("Formats of the samples.", default=("dcd",))
    figures: bool = key("Draw the figures.", default=True)


class GuideRecipe(Section):
    """A complete description of one `tpsctl guide` run."""

    version: Literal[1] = key("Version of the recipe format.")
    name: str = key("Name of the run, for tables and figures.", min_length=1)
    seed: int = key("Seed of all random numbers.", "1", ge=0)
    molecule: GuidedMoleculeSection | None = key(
        "The molecule; needed only for a checkpoint that does not store its atoms.", default=None
    )
    prior: Annotated[CheckpointPriorSection | GaussianPriorSection, Field(discriminator="kind")] = key(
        "What is sampled; samples are drawn down to its diffusion_time."
    )
    guide: Annotated[ObservableGuidanceSection | PathGuidanceSection, Field(discriminator="kind")] = key(
        "What the samples are guided to."
    )
    sampling: GuidedSamplingSection = key("How they are drawn.", default=GuidedSamplingSection())
    output: GuideOutputSection = key("Files to write.")

    @model_validator(mode="after")
    def _flow_needs_a_known_term(self) -> Self:
        denoised = isinstance(self.guide, ObservableGuidanceSection) and self.guide.evaluate == "denoised"
        if self.sampling.process == "ode" and denoised:
            raise ValueError(
                "sampling.process: ode needs guide.evaluate: noised, because the excess work of the ODE takes the "
                "divergence of the guidance, which for denoised structures has third derivatives of the network"
            )
        committor = isinstance(self.guide, PathGuidanceSection) and self.guide.kernel.kind == "committor"
        if self.sampling.process == "ode" and committor:
            raise ValueError(
                "sampling.process: ode needs another guide.kernel than committor, which guides denoised structures"
            )
        if self.sampling.process == "ode" and self.sampling.corrections:
            raise ValueError("sampling.corrections: the ODE has none; leave them out, or use process: stochastic")
        return self

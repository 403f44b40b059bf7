"""The section `action`: the functional that is minimized, the diffusion coefficients and the physical step."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.auto import AUTO, PositiveOrAuto
from tpsctl.recipe.section import Section, key


class FunctionalSection(Section):
    """What all functionals share: the diffusion coefficient of every bead."""

    friction_per_ps: float | None = key(
        "Langevin friction gamma; D = kT / (mass gamma) for every bead; default: 1.", "1/ps", default=None, gt=0
    )
    diffusion_nm2_per_ps: float | None = key(
        "Diffusion coefficient set by hand for all beads, instead of friction_per_ps.", "nm^2/ps", default=None, gt=0
    )
    temperature_k: float | None = key(
        "Temperature of the dynamics; default: the prior's, and 300 where it has none.", "K", default=None, gt=0
    )

    @model_validator(mode="after")
    def _one_diffusion(self) -> Self:
        if self.friction_per_ps is not None and self.diffusion_nm2_per_ps is not None:
            raise ValueError("give at most one of friction_per_ps (1/ps) and diffusion_nm2_per_ps (nm^2/ps)")
        return self


class TimedFunctionalSection(FunctionalSection):
    """What the functionals with a physical step share."""

    dt_ps: PositiveOrAuto = key(
        "Physical time between two images; auto: from the curvatures of the prior at the ends.", "ps", default=AUTO
    )


class TruncatedActionSection(TimedFunctionalSection):
    """Kinetic and drift term: the zero-temperature limit, a sum of squares."""

    functional: Literal["truncated"] = key("Kinetic + drift.")


class EulerMaruyamaActionSection(TimedFunctionalSection):
    """Exact log-likelihood of the discretized dynamics; for scores that are no gradient."""

    functional: Literal["euler_maruyama"] = key("Transition-kernel likelihood.")


class ExactDivergenceSection(Section):
    """Trace of the score's Jacobian, column by column: for small systems."""

    kind: Literal["exact"] = key("Exact trace.")


class HutchinsonDivergenceSection(Section):
    """Trace estimated with random signs, with an error bar."""

    kind: Literal["hutchinson"] = key("Random probes.")
    probes: int = key("Rademacher vectors per image.", "1", default=8, ge=2)


class OnsagerMachlupActionSection(TimedFunctionalSection):
    """Kinetic, drift and divergence term: finite temperature."""

    functional: Literal["onsager_machlup"] = key("Kinetic + drift + divergence.")
    divergence: Annotated[ExactDivergenceSection | HutchinsonDivergenceSection, Field(discriminator="kind")] = key(
        "How the divergence of the score is computed.", default=ExactDivergenceSection(kind="exact")
    )


class GeometricActionSection(FunctionalSection):
    """Minimized over the time of each step, too: no time step, images at equal distances, minimum-energy paths."""

    functional: Literal["geometric"] = key("Time-free: the integral of |drift| along the path.")


class TransportActionSection(Section):
    """Paths through the time-dependent field between snapshots, from the first to the last; they are transport maps."""

    functional: Literal["transport"] = key("Onsager-Machlup action of the field, with its change in time.")
    diffusion_nm2_per_ps: float = key("D of the noise of the paths, the same for all beads.", "nm^2/ps", gt=0)
    temperature_k: ClassVar[None] = None
    friction_per_ps: ClassVar[None] = None


ActionSection = Annotated[
    TruncatedActionSection
    | OnsagerMachlupActionSection
    | EulerMaruyamaActionSection
    | GeometricActionSection
    | TransportActionSection,
    Field(discriminator="functional"),
]

"""The section `optimize`: the search for routes, a minimizer of the action, or stages of minimizers."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tpsctl.recipe.section import Section, key


class MinimizerSection(Section):
    """Keys that all methods share. Several stages run one after another, each from the paths of the one before."""

    max_steps: int | None = key("Largest number of iterations.", "1", default=None, ge=1)
    action_tolerance: float = key(
        "Converged if the action fell by less than this fraction over the last five steps, and",
        "1",
        default=1e-4,
        gt=0,
    )
    gradient_tolerance_per_nm: float = key(
        "no coordinate has a larger derivative of the action than this.", "1/nm", default=10.0, gt=0
    )
    diffusion_time: float | None = key(
        "Diffusion time of this stage; default: prior.diffusion_time.", "1", default=None, ge=0, le=1
    )
    images: int | None = key("Images in this stage; default: path.images.", "1", default=None, ge=3)


class StageSection(MinimizerSection):
    """Keys that all minimizers of an action share."""

    dt_ps: float | None = key("Physical step of this stage; default: action.dt_ps.", "ps", default=None, gt=0)


class LimitedStageSection(StageSection):
    """Keys of the minimizers whose number of steps must be given."""

    max_steps: int = key("Largest number of iterations; a last stage that reaches it is not converged.", "1", ge=1)


class LevenbergMarquardtSection(StageSection):
    """Damped Gauss-Newton on the least-squares form; finds saddles where the others stall."""

    method: Literal["levenberg_marquardt"] = key("Levenberg-Marquardt.")
    max_steps: int | None = key(
        "Largest number of iterations; a last stage that reaches it is not converged. Default: 200, and where this is "
        "the only stage for a molecule, two stages with few images come before it.",
        "1",
        default=None,
        ge=1,
    )


class StringSection(MinimizerSection):
    """Images move along the score across the path and are spread evenly; it reports the geometric action."""

    method: Literal["string"] = key("String method.")
    max_steps: int = key(
        "Largest number of iterations; a last stage that reaches it is not converged.", "1", default=500, ge=1
    )
    gradient_tolerance_per_nm: float = key(
        "no component of the score across the path is larger than this.", "1/nm", default=1.0, gt=0
    )
    preconditioned: bool = key(
        "Whether steps use the score's Jacobian; without it, or if it takes over 1 GB a path, they are shorter.",
        default=True,
    )
    renew_every: int = key("Steps between two Jacobians.", "1", default=4, ge=1)
    max_displacement_nm: float | None = key(
        "Longest move of any bead in one step; default: half the distance between images.", "nm", default=None, gt=0
    )


class LbfgsSection(LimitedStageSection):
    """L-BFGS with the path's Laplacian as the initial Hessian."""

    method: Literal["lbfgs"] = key("L-BFGS.")
    max_displacement_nm: float = key("Longest move of any bead in one step.", "nm", default=0.02, gt=0)


class AdamSection(LimitedStageSection):
    """Adam with a fixed learning rate."""

    method: Literal["adam"] = key("Adam.")
    learning_rate_nm: float = key("Learning rate: the length of an early step of each coordinate.", "nm", gt=0)


class SgdSection(LimitedStageSection):
    """Gradient descent with momentum."""

    method: Literal["sgd"] = key("Gradient descent with momentum.")
    learning_rate_nm2: float = key("Learning rate: step = rate x gradient.", "nm^2", gt=0)
    momentum: float = key("Momentum.", "1", default=0.9, ge=0, lt=1)


MethodSection = Annotated[
    LevenbergMarquardtSection | StringSection | LbfgsSection | AdamSection | SgdSection, Field(discriminator="method")
]


class AutoMethodSection(Section):
    """The method is chosen by the molecule and its prior."""

    method: Literal["auto"] = key(
        "route for molecules of up to 70 atoms whose prior is an energy landscape, else levenberg_marquardt.",
        default="auto",
    )


class RouteSection(Section):
    """A search for the lowest routes over verified saddles, in rounds of `path.paths` attempts.

    For molecules of up to 70 atoms with a force field or a prior that knows its log density. It ends when the best
    routes no longer change and few saddles below the highest one can still be unknown, or after `max_rounds`.
    """

    method: Literal["route"] = key("Search for routes over saddles.", default="route")
    max_rounds: int = key("Most rounds; a search that reaches it is not complete.", "1", default=60, ge=1)
    stable_rounds: int = key("Rounds without a lower route before the search may end.", "1", default=4, ge=1)
    missing: float = key(
        "Largest probability that the next saddle below the highest one is a new one (Good and Turing) at which the "
        "search may end.",
        "1",
        default=0.1,
        gt=0,
        le=1,
    )
    max_routes: int = key("Most routes that are written, lowest first.", "1", default=8, ge=1)


SingleSection = Annotated[
    AutoMethodSection
    | RouteSection
    | LevenbergMarquardtSection
    | StringSection
    | LbfgsSection
    | AdamSection
    | SgdSection,
    Field(discriminator="method"),
]


def _optimize_kind(value: Any) -> str:
    return "stages" if isinstance(value, list | tuple) else "single"


OptimizeSection = Annotated[
    Annotated[SingleSection, Tag("single")] | Annotated[tuple[MethodSection, ...], Field(min_length=1), Tag("stages")],
    Discriminator(_optimize_kind),
]

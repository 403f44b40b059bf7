"""Actions, minimizers and stages, from the sections `action` and `optimize`."""

from tpsctl.action.base import Action, Dynamics
from tpsctl.action.divergence import Divergence, ExactDivergence, HutchinsonDivergence
from tpsctl.action.euler_maruyama import EulerMaruyamaAction
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.truncated import TruncatedAction
from tpsctl.errors import RecipeError
from tpsctl.molecule.topology import Topology
from tpsctl.optimize.base import Convergence, Optimizer
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.optimize.lbfgs import LBFGS
from tpsctl.optimize.levenberg_marquardt import LevenbergMarquardt
from tpsctl.optimize.stages import Stage
from tpsctl.prior.base import Prior
from tpsctl.recipe.action import (
    EulerMaruyamaActionSection,
    ExactDivergenceSection,
    FunctionalSection,
    HutchinsonDivergenceSection,
    OnsagerMachlupActionSection,
    TruncatedActionSection,
)
from tpsctl.recipe.optimize import (
    AdamSection,
    LbfgsSection,
    LevenbergMarquardtSection,
    MethodSection,
    SgdSection,
    StageSection,
)
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.workflows.sample.assemble.prior import diffusion_time, precision_of
from tpsctl.workflows.sample.assemble.system import System


def make_dynamics(section: TruncatedActionSection | FunctionalSection, prior: Prior, topology: Topology) -> Dynamics:
    """Step and diffusion coefficients of the beads."""
    if section.diffusion_nm2_per_ps is not None:
        return Dynamics.uniform(
            dt_ps=section.dt_ps, diffusion_nm2_per_ps=section.diffusion_nm2_per_ps, n_beads=prior.n_beads
        )
    temperature_k = section.temperature_k or prior.temperature_k
    if temperature_k is None:
        raise RecipeError("action.temperature_k: missing, and this prior has no temperature of its own. Give it (K).")
    assert section.friction_per_ps is not None  # the recipe has exactly one of the two
    return Dynamics.langevin(
        dt_ps=section.dt_ps,
        masses_amu=prior.masses_amu or topology.masses_amu,
        friction_per_ps=section.friction_per_ps,
        temperature_k=temperature_k,
    )


def make_action(recipe: SampleRecipe, stage: StageSection, prior: Prior, dynamics: Dynamics) -> Action:
    """The action of one stage, at its own diffusion time and physical step."""
    time = stage.diffusion_time if stage.diffusion_time is not None else diffusion_time(recipe)
    score = ScoreInPrecision(prior.at(time), precision_of(recipe.prior))
    dynamics = dynamics if stage.dt_ps is None else dynamics.with_dt(stage.dt_ps)
    match recipe.action:
        case TruncatedActionSection():
            return TruncatedAction(score, dynamics)
        case EulerMaruyamaActionSection():
            return EulerMaruyamaAction(score, dynamics)
        case OnsagerMachlupActionSection():
            return OnsagerMachlupAction(score, dynamics, _divergence(recipe.action.divergence, recipe.seed))


def make_stages(recipe: SampleRecipe, prior: Prior, system: System) -> list[Stage]:
    """The stages of the optimization."""
    dynamics = make_dynamics(recipe.action, prior, system.topology)
    return [
        Stage(
            name=f"{number}. {stage.method}",
            optimizer=make_optimizer(stage),
            action=make_action(recipe, stage, prior, dynamics),
            images=stage.images or recipe.path.images,
        )
        for number, stage in enumerate(recipe.stages, start=1)
    ]


def _divergence(section: ExactDivergenceSection | HutchinsonDivergenceSection, seed: int) -> Divergence:
    if isinstance(section, HutchinsonDivergenceSection):
        return HutchinsonDivergence(probes=section.probes, seed=seed)
    return ExactDivergence()


def make_optimizer(stage: MethodSection) -> Optimizer:
    """The minimizer of one stage."""
    convergence = Convergence(
        action_tolerance=stage.action_tolerance, gradient_tolerance_per_nm=stage.gradient_tolerance_per_nm
    )
    match stage:
        case LevenbergMarquardtSection():
            return LevenbergMarquardt(max_steps=stage.max_steps, convergence=convergence)
        case LbfgsSection():
            return LBFGS(
                max_steps=stage.max_steps, convergence=convergence, max_displacement_nm=stage.max_displacement_nm
            )
        case AdamSection():
            return Adam(learning_rate_nm=stage.learning_rate_nm, max_steps=stage.max_steps, convergence=convergence)
        case SgdSection():
            return SGD(
                learning_rate_nm2=stage.learning_rate_nm2,
                momentum=stage.momentum,
                max_steps=stage.max_steps,
                convergence=convergence,
            )

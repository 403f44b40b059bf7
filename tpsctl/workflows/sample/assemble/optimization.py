"""Actions, minimizers and stages, from the sections `action` and `optimize`."""

from tpsctl.action.base import Action, Dynamics
from tpsctl.action.divergence import Divergence, ExactDivergence, HutchinsonDivergence
from tpsctl.action.euler_maruyama import EulerMaruyamaAction
from tpsctl.action.geometric import GeometricAction
from tpsctl.action.onsager_machlup import OnsagerMachlupAction
from tpsctl.action.transport import TransportAction
from tpsctl.action.truncated import TruncatedAction
from tpsctl.molecule.topology import Topology
from tpsctl.optimize.base import Convergence, Optimizer
from tpsctl.optimize.first_order import SGD, Adam
from tpsctl.optimize.lbfgs import LBFGS
from tpsctl.optimize.levenberg_marquardt import LevenbergMarquardt
from tpsctl.optimize.stages import Stage
from tpsctl.optimize.string import String
from tpsctl.prior.base import Prior
from tpsctl.prior.snapshots import SnapshotPrior
from tpsctl.recipe.action import (
    EulerMaruyamaActionSection,
    ExactDivergenceSection,
    GeometricActionSection,
    HutchinsonDivergenceSection,
    OnsagerMachlupActionSection,
    TransportActionSection,
    TruncatedActionSection,
)
from tpsctl.recipe.optimize import (
    AdamSection,
    LbfgsSection,
    LevenbergMarquardtSection,
    MethodSection,
    SgdSection,
    StringSection,
)
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.workflows.sample.assemble.chosen import Chosen, bead_diffusion
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.assemble.system import System


def make_dynamics(recipe: SampleRecipe, chosen: Chosen, prior: Prior, topology: Topology) -> Dynamics:
    """Step and diffusion coefficients of the beads."""
    temperature_k, friction = chosen.temperature_k.value, chosen.friction_per_ps.value
    return Dynamics(chosen.dt_ps.value, bead_diffusion(recipe.action, prior, topology, temperature_k, friction))


def make_action(recipe: SampleRecipe, chosen: Chosen, stage: MethodSection, prior: Prior, dynamics: Dynamics) -> Action:
    """The action of one stage, at its own diffusion time and physical step; a string has the geometric action."""
    time = chosen.diffusion_time.value if stage.diffusion_time is None else stage.diffusion_time
    score = ScoreInPrecision(prior.at(time), precision_of(recipe.prior))
    if isinstance(stage, StringSection):
        return GeometricAction(score, dynamics)
    dynamics = dynamics if stage.dt_ps is None else dynamics.with_dt(stage.dt_ps)
    match recipe.action:
        case GeometricActionSection():
            return GeometricAction(score, dynamics)
        case TruncatedActionSection():
            return TruncatedAction(score, dynamics)
        case EulerMaruyamaActionSection():
            return EulerMaruyamaAction(score, dynamics)
        case TransportActionSection():
            assert isinstance(prior, SnapshotPrior)  # the recipe sees to it
            when = prior.when
            return TransportAction(prior.field, dynamics, start_ps=when.start_ps, growth_per_nm2=when.growth_per_nm2)
        case OnsagerMachlupActionSection():
            return OnsagerMachlupAction(score, dynamics, _divergence(recipe.action.divergence, recipe.seed))


def make_stages(recipe: SampleRecipe, chosen: Chosen, prior: Prior, system: System) -> list[Stage]:
    """The stages of the optimization."""
    dynamics = make_dynamics(recipe, chosen, prior, system.topology)
    return [
        Stage(
            name=f"{number}. {stage.method}",
            optimizer=make_optimizer(stage),
            action=make_action(recipe, chosen, stage, prior, dynamics),
            images=stage.images or chosen.images.value,
        )
        for number, stage in enumerate(chosen.stages, start=1)
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
            assert stage.max_steps is not None  # `Chosen.stages` has a number for every stage
            return LevenbergMarquardt(max_steps=stage.max_steps, convergence=convergence)
        case StringSection():
            return String(
                max_steps=stage.max_steps,
                convergence=convergence,
                preconditioned=stage.preconditioned,
                renew_every=stage.renew_every,
                max_displacement_nm=stage.max_displacement_nm,
            )
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

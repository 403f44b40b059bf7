"""The dynamics of the shots: the force field of the run, or the overdamped dynamics of its prior."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.molecule.topology import Topology
from tpsctl.recipe.force_field import ForceFieldSection
from tpsctl.recipe.prior import OpenMMPriorSection
from tpsctl.score.base import Score
from tpsctl.simulation.shooting.dynamics import Propagator
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.tools import Tools
from tpsctl.workflows.shoot.examined import ExaminedRun
from tpsctl.workflows.shoot.settings import PhysicsSettings

_FRAME_PS = 0.01
_LONGEST_PS = 20.0
_LIGHT_AMU, _DT_PS, _DT_HEAVY_PS = 20.0, 0.001, 0.005
"""Steps for flexible bonds: particles lighter than a water molecule need the shorter one."""

_REFERENCE_ATOMS = 100
"""Up to this size the Reference platform is used, and CPU above; untimed, so that every process takes the same."""

_LONGEST_STEPS = 50_000
_DIFFUSION = 1.0


@dataclass(frozen=True)
class ShotDynamics:
    """The dynamics, and every number of it.

    Attributes:
        propagator: Makes the shots.
        longest_ps: Longest time of a shot, ps.
        about: All numbers, for the manifest.
        name: In words.
    """

    propagator: Propagator
    longest_ps: float
    about: dict[str, Any]
    name: str


@dataclass(frozen=True)
class PriorLaw:
    """Which law of a prior shots move in, and what the step is found with.

    Attributes:
        kind: The kind of the prior, as in a recipe.
        time: Its diffusion time.
        seed: Seed of the directions in which its stiffness is looked for.
    """

    kind: str
    time: float
    seed: int


def make_dynamics(run: ExaminedRun, wanted: PhysicsSettings, x: Tensor) -> ShotDynamics:
    """The dynamics that is wanted.

    Args:
        run: The run with its recipe.
        wanted: What the command line says; "auto" is the force field, and the prior if there is none.
        x: Configurations of interest (batch, bead, dim), nm, whose stiffness decides the step of overdamped dynamics.

    Raises:
        RecipeError: The run has no such dynamics.
    """
    tools = run.tools
    section = _force_field(tools)
    if wanted.dynamics == "prior" or (wanted.dynamics == "auto" and section is None):
        return _overdamped_of_run(tools, wanted, x)
    if section is None:
        raise RecipeError(
            "the run names no force field. Give one with --set 'validation.energy={force_field: [amber14-all.xml]}', "
            "or use the prior's own dynamics with --dynamics prior."
        )
    topology = tools.given_system.topology
    return langevin_dynamics(topology, section, wanted, wanted.temperature_k or run.stored.temperature_k)


def _force_field(tools: Tools) -> ForceFieldSection | None:
    if not tools.given_system.is_molecule:
        return None
    if tools.given.validation.energy is not None:
        return tools.given.validation.energy.force_field
    prior = tools.given.prior
    return prior.force_field if isinstance(prior, OpenMMPriorSection) else None


def langevin_dynamics(
    topology: Topology, section: ForceFieldSection, wanted: PhysicsSettings, temperature_k: float
) -> ShotDynamics:
    """Langevin dynamics of a molecule's force field, all-atom or coarse-grained, at a temperature in K."""
    import openmm

    from tpsctl.simulation.engine import Thermostat
    from tpsctl.simulation.shooting.langevin import LangevinDynamics

    made = system_source(section).create(topology)
    light = min(made.masses_amu) < _LIGHT_AMU
    dt_ps = wanted.dt_ps or (_DT_PS if light else _DT_HEAVY_PS)
    frame_steps = max(1, round(_FRAME_PS / dt_ps))
    platform = "Reference" if len(made.masses_amu) <= _REFERENCE_ATOMS else "CPU"
    longest_ps = wanted.longest_ps or _LONGEST_PS
    dynamics = LangevinDynamics(
        openmm.XmlSerializer.serialize(made.system),
        Thermostat(dt_ps, wanted.friction_per_ps, temperature_k),
        frame_steps=frame_steps,
        platform=platform,
        masses_amu=made.masses_amu,
    )
    about = {
        "dynamics": "langevin",
        "force_field": list(made.parts),
        "platform": platform,
        "temperature_k": temperature_k,
        "friction_per_ps": wanted.friction_per_ps,
        "dt_ps": dt_ps,
        "frame_ps": dynamics.frame_ps,
        "longest_ps": longest_ps,
    }
    name = f"Langevin dynamics with {made.name} at {temperature_k:g} K, friction {wanted.friction_per_ps:g}/ps"
    return ShotDynamics(dynamics, longest_ps, about, f"{name}, step {dt_ps:g} ps")


def overdamped_dynamics(score: Score, law: PriorLaw, wanted: PhysicsSettings, x: Tensor) -> ShotDynamics:
    """Overdamped dynamics in the score of a prior, with a step for its stiffness at configurations x, nm."""
    from tpsctl.simulation.shooting.overdamped import OverdampedDynamics, stable_step_ps

    dt_ps = wanted.dt_ps or _rounded(stable_step_ps(score.jvp, x, _DIFFUSION, seed=law.seed))
    longest_ps = wanted.longest_ps or _LONGEST_STEPS * dt_ps
    about = {
        "dynamics": "overdamped",
        "prior": law.kind,
        "diffusion_time": law.time,
        "diffusion_nm2_per_ps": _DIFFUSION,
        "dt_ps": dt_ps,
        "frame_ps": dt_ps,
        "longest_ps": longest_ps,
    }
    name = f"overdamped dynamics of the prior ({law.kind}), step {dt_ps:.2g} ps at D = 1 nm^2/ps"
    return ShotDynamics(OverdampedDynamics(score, diffusion=_DIFFUSION, dt_ps=dt_ps), longest_ps, about, name)


def _overdamped_of_run(tools: Tools, wanted: PhysicsSettings, x: Tensor) -> ShotDynamics:
    from tpsctl.score.precision import ScoreInPrecision
    from tpsctl.workflows.sample.assemble import precision_of

    given = tools.given
    score = ScoreInPrecision(tools.prior.at(tools.final_time), precision_of(given.prior))
    return overdamped_dynamics(score, PriorLaw(given.prior.kind, tools.final_time, given.seed), wanted, x)


def _rounded(step: float) -> float:
    """A step with one digit, so that rounding errors of the stiffness do not decide whether two runs are the same."""
    digit = 10.0 ** math.floor(math.log10(step))
    return math.floor(step / digit) * digit

"""The numbers that a recipe may leave to the program: images, steps, friction, temperature, time, and stages.

A recipe stays as its author wrote it. Whatever needs one of these numbers takes it from `Chosen`, which is made once
for a recipe; the manifest holds every number with the reason for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.prior.snapshots import SnapshotPrior
from tpsctl.recipe.action import FunctionalSection, TimedFunctionalSection, TransportActionSection
from tpsctl.recipe.auto import AUTO, DEFAULT_TEMPERATURE_K
from tpsctl.recipe.optimize import LevenbergMarquardtSection, MethodSection
from tpsctl.recipe.prior import CheckpointPriorSection, PriorSection
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.units import diffusion_coefficient, thermal_energy
from tpsctl.workflows.sample.assemble.diffusion_time import measured
from tpsctl.workflows.sample.assemble.fitness import require_fit_time, verdict_of
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.sample.assemble.system import System
from tpsctl.workflows.sample.assemble.time_step import images_by_distance, step_by_rates

GIVEN = "given in the recipe"

_FRICTION_PER_PS, _TIME_FREE_PS = 1.0, 1.0
_MAX_STEPS = 200
_FEW, _FEWEST = 0.25, 12
"""Images of the stages before the last one, as a fraction of all, and their least number."""

Forces = Callable[[Tensor], Tensor]
"""Structures (frame, bead, 3), nm, to forces, kJ/mol/nm."""


@dataclass(frozen=True)
class ChosenNumber:
    """A number with the reason for it.

    Attributes:
        value: The number; None where it does not apply.
        reason: Where it comes from, in words.
    """

    value: Any
    reason: str


@dataclass(frozen=True)
class Chosen:
    """Every number that a recipe may leave open, as it is used.

    Attributes:
        images: Images per path.
        diffusion_time: Diffusion time at which the score is used; 0 for a prior that is a force field.
        temperature_k: Temperature of the dynamics, K; None if a diffusion coefficient is given.
        friction_per_ps: Friction, 1/ps; None if a diffusion coefficient is given.
        dt_ps: Physical time between two images, ps.
        stages: Sections of the stages of the optimization, with all their numbers.
        stages_reason: Where the stages come from, in words.
    """

    images: ChosenNumber
    diffusion_time: ChosenNumber
    temperature_k: ChosenNumber
    friction_per_ps: ChosenNumber
    dt_ps: ChosenNumber
    stages: tuple[MethodSection, ...]
    stages_reason: str

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Value and reason by the key of the recipe, for the manifest."""
        keys = {
            "path.images": self.images,
            "prior.diffusion_time": self.diffusion_time,
            "action.temperature_k": self.temperature_k,
            "action.friction_per_ps": self.friction_per_ps,
            "action.dt_ps": self.dt_ps,
            "optimize": ChosenNumber([stage.model_dump(mode="json") for stage in self.stages], self.stages_reason),
        }
        return {key: {"value": choice.value, "reason": choice.reason} for key, choice in keys.items()}


def choose(
    recipe: SampleRecipe, system: System, prior: Prior, device: torch.device, forces: Callable[[], Forces | None]
) -> Chosen:
    """Every number that the recipe leaves open.

    Args:
        recipe: What is left open.
        system: The ends.
        prior: The prior on its device, in the order of the ends.
        device: The device of the prior.
        forces: Gives the forces of the force field that judges the paths, or None; asked only if they are needed.

    Raises:
        PriorError: The prior's score at the ends, or its derivative, is not finite.
    """
    images = choose_images(recipe, system)
    temperature, friction = _temperature(recipe.action, prior), _friction(recipe.action)
    time = _diffusion_time(recipe, system, prior, device, forces)
    diffusion = bead_diffusion(recipe.action, prior, system.topology, temperature.value, friction.value)
    score = ScoreInPrecision(prior.at(time.value), precision_of(recipe.prior))
    if isinstance(prior, SnapshotPrior):
        dt_ps = ChosenNumber(
            prior.when.duration_ps / (images.value - 1), "the time between the snapshots, over the steps"
        )
    else:
        dt_ps = _dt_ps(recipe.action, lambda: step_by_rates(score, system.all_ends.to(device), diffusion, images.value))
    stages, reason = _stages(recipe, images.value, dt_ps.value, is_molecule=system.is_molecule)
    _require_fit_stages(recipe.prior, stages, prior.topology)
    return Chosen(images, time, temperature, friction, dt_ps, stages, reason)


def choose_images(recipe: SampleRecipe, system: System) -> ChosenNumber:
    """Images per path; the ends alone decide, so that the size of a run is known without the prior."""
    if recipe.path.images != AUTO:
        return ChosenNumber(recipe.path.images, GIVEN)
    return ChosenNumber(*images_by_distance(system.all_pairs, is_molecule=system.is_molecule))


def bead_diffusion(
    section: FunctionalSection | TransportActionSection,
    prior: Prior,
    topology: Topology,
    temperature_k: float | None,
    friction_per_ps: float | None,
) -> Float[Tensor, " bead"]:
    """D of every bead, nm^2/ps: what the recipe gives, or kT / (m gamma)."""
    if section.diffusion_nm2_per_ps is not None:
        return torch.full((prior.n_beads,), section.diffusion_nm2_per_ps, dtype=torch.float64)
    assert temperature_k is not None
    assert friction_per_ps is not None
    masses = prior.masses_amu or topology.masses_amu
    values = [diffusion_coefficient(mass, friction_per_ps, temperature_k) for mass in masses]
    return torch.tensor(values, dtype=torch.float64)


def _diffusion_time(
    recipe: SampleRecipe, system: System, prior: Prior, device: torch.device, forces: Callable[[], Forces | None]
) -> ChosenNumber:
    section = recipe.prior
    given = getattr(section, "diffusion_time", None)
    if given is None:
        return ChosenNumber(0.0, "this prior has no noise")
    if given != AUTO:
        if isinstance(section, CheckpointPriorSection):
            require_fit_time(section, given, "prior.diffusion_time", prior.topology)
        return ChosenNumber(given, GIVEN)
    assert isinstance(section, CheckpointPriorSection)  # no other section has auto here
    stored = verdict_of(section, prior.topology).times
    if stored is not None:
        text = f"the smallest time for which the checkpoint was trained and judged ({stored[0]:g} to {stored[1]:g})"
        return ChosenNumber(stored[0], text)
    found = forces()
    kt = thermal_energy(prior.temperature_k or DEFAULT_TEMPERATURE_K)
    reduced = None if found is None else (lambda x: found(x) / kt)
    dtype = precision_of(section)
    return ChosenNumber(*measured(prior, lambda t: ScoreInPrecision(prior.at(t), dtype), system, device, reduced))


def _require_fit_stages(section: PriorSection, stages: tuple[MethodSection, ...], topology: Topology | None) -> None:
    for time in (stage.diffusion_time for stage in stages):
        if time is not None and isinstance(section, CheckpointPriorSection):
            require_fit_time(section, time, "optimize.diffusion_time", topology)


def _temperature(section: FunctionalSection | TransportActionSection, prior: Prior) -> ChosenNumber:
    if section.temperature_k is not None:
        return ChosenNumber(section.temperature_k, GIVEN)
    if section.diffusion_nm2_per_ps is not None:
        return ChosenNumber(None, "not needed: the recipe gives the diffusion coefficient")
    if prior.temperature_k is not None:
        return ChosenNumber(prior.temperature_k, "the prior's")
    return ChosenNumber(DEFAULT_TEMPERATURE_K, "the default, because this prior has no temperature of its own")


def _friction(section: FunctionalSection | TransportActionSection) -> ChosenNumber:
    if section.friction_per_ps is not None:
        return ChosenNumber(section.friction_per_ps, GIVEN)
    if section.diffusion_nm2_per_ps is not None:
        return ChosenNumber(None, "not needed: the recipe gives the diffusion coefficient")
    return ChosenNumber(_FRICTION_PER_PS, "the default; another one rescales the time step and moves no path")


def _dt_ps(
    section: FunctionalSection | TransportActionSection, by_rates: Callable[[], tuple[float, str]]
) -> ChosenNumber:
    if not isinstance(section, TimedFunctionalSection):
        return ChosenNumber(_TIME_FREE_PS, "without meaning: the geometric action is time-free, and files need a step")
    return ChosenNumber(*by_rates()) if section.dt_ps == AUTO else ChosenNumber(section.dt_ps, GIVEN)


def _stages(
    recipe: SampleRecipe, images: int, dt_ps: float, *, is_molecule: bool
) -> tuple[tuple[MethodSection, ...], str]:
    """The stages with all their numbers.

    A lone Levenberg-Marquardt without a number of steps gets two stages before it, if it is for a molecule. With a
    quarter of the images they leave the guess at half the step, where a path moves easily, and slide to the saddle at
    twice the step; both end early. The last stage refines with all images at the step of the action.
    """
    open_ones = [isinstance(s, LevenbergMarquardtSection) and s.max_steps is None for s in recipe.stages]
    if not any(open_ones):
        return recipe.stages, GIVEN
    counted = tuple(
        stage.model_copy(update={"max_steps": _MAX_STEPS}) if is_open else stage
        for stage, is_open in zip(recipe.stages, open_ones, strict=True)
    )
    last = counted[0]
    if not is_molecule or len(counted) > 1 or not isinstance(last, LevenbergMarquardtSection):
        return counted, f"given in the recipe, with {_MAX_STEPS} steps where it gives no number"
    few, step = max(_FEWEST, round(_FEW * images)), last.dt_ps or dt_ps
    early = {"images": min(few, images), "action_tolerance": 1e-2, "gradient_tolerance_per_nm": 20.0}
    first = last.model_copy(update=early | {"max_steps": 60, "dt_ps": step / 2})
    second = last.model_copy(update=early | {"max_steps": 80, "dt_ps": 2 * step})
    return (first, second, last), "a few images leave the guess and slide to the saddle, then all images refine"

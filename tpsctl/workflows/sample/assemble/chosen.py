"""The numbers that a recipe may leave to the program: images, time step, friction, temperature and diffusion time.

A recipe stays as its author wrote it. Whatever needs one of these numbers takes it from `Chosen`, which is made once
for a recipe; the manifest holds every number with the reason for it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.recipe.action import FunctionalSection
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.score.base import Score
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.units import diffusion_coefficient
from tpsctl.workflows.sample.assemble.prior import DIFFUSION_TIME, precision_of
from tpsctl.workflows.sample.assemble.system import System

GIVEN = "given in the recipe"

_FRICTION_PER_PS = 1.0
_TEMPERATURE_K = 300.0
_IMAGES = {True: 100, False: 50}
"""Images of a path of a molecule, and of a path on a model potential."""

_STIFFNESS_IN_A_STEP = 200.0
"""Largest eigenvalue of dt sqrt(D) J sqrt(D) at the ends that the chosen step gives: the stiffest bond relaxes this
many times in a step. At 100 images of a small molecule the horizon is then long enough for its torsions."""


_DT_WITHOUT_FORCES_PS = 1e-3


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
    """

    images: ChosenNumber
    diffusion_time: ChosenNumber
    temperature_k: ChosenNumber
    friction_per_ps: ChosenNumber
    dt_ps: ChosenNumber

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Value and reason by the key of the recipe, for the manifest."""
        keys = {
            "path.images": self.images,
            "prior.diffusion_time": self.diffusion_time,
            "action.temperature_k": self.temperature_k,
            "action.friction_per_ps": self.friction_per_ps,
            "action.dt_ps": self.dt_ps,
        }
        return {key: {"value": choice.value, "reason": choice.reason} for key, choice in keys.items()}


def choose(recipe: SampleRecipe, system: System, prior: Prior, device: torch.device) -> Chosen:
    """Every number that the recipe leaves open.

    Args:
        recipe: What is left open.
        system: The two ends.
        prior: The prior on its device, in the order of the ends.
        device: The device of the prior.

    Raises:
        PriorError: The prior's score at the ends, or its derivative, is not finite.
    """
    time = choose_diffusion_time(recipe)
    temperature, friction = _temperature(recipe.action, prior), _friction(recipe.action)
    return Chosen(
        images=choose_images(recipe, system),
        diffusion_time=time,
        temperature_k=temperature,
        friction_per_ps=friction,
        dt_ps=_dt_ps(
            recipe.action,
            score=ScoreInPrecision(prior.at(time.value), precision_of(recipe.prior)),
            ends=system.ends.to(device),
            diffusion=bead_diffusion(recipe.action, prior, system.topology, temperature.value, friction.value),
        ),
    )


def choose_images(recipe: SampleRecipe, system: System) -> ChosenNumber:
    """Images per path; the ends alone decide, so that the size of a run is known without the prior."""
    if recipe.path.images != AUTO:
        return ChosenNumber(recipe.path.images, GIVEN)
    what = "a molecule" if system.is_molecule else "a model potential"
    return ChosenNumber(_IMAGES[system.is_molecule], f"the default for {what}")


def choose_diffusion_time(recipe: SampleRecipe) -> ChosenNumber:
    """The diffusion time at which the score is used."""
    given = getattr(recipe.prior, "diffusion_time", None)
    if given is None:
        return ChosenNumber(0.0, "this prior has no noise")
    return ChosenNumber(DIFFUSION_TIME, "the default") if given == AUTO else ChosenNumber(given, GIVEN)


def bead_diffusion(
    section: FunctionalSection,
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


def _temperature(section: FunctionalSection, prior: Prior) -> ChosenNumber:
    if section.temperature_k is not None:
        return ChosenNumber(section.temperature_k, GIVEN)
    if section.diffusion_nm2_per_ps is not None:
        return ChosenNumber(None, "not needed: the recipe gives the diffusion coefficient")
    if prior.temperature_k is not None:
        return ChosenNumber(prior.temperature_k, "the prior's")
    return ChosenNumber(_TEMPERATURE_K, "the default, because this prior has no temperature of its own")


def _friction(section: FunctionalSection) -> ChosenNumber:
    if section.friction_per_ps is not None:
        return ChosenNumber(section.friction_per_ps, GIVEN)
    if section.diffusion_nm2_per_ps is not None:
        return ChosenNumber(None, "not needed: the recipe gives the diffusion coefficient")
    return ChosenNumber(_FRICTION_PER_PS, "the default; it rescales the time step and moves no path")


def _dt_ps(section: FunctionalSection, *, score: Score, ends: Tensor, diffusion: Tensor) -> ChosenNumber:
    if section.dt_ps != AUTO:
        return ChosenNumber(section.dt_ps, GIVEN)
    stiffness = _stiffness_per_ps(score, ends, diffusion)
    if stiffness == 0:
        return ChosenNumber(_DT_WITHOUT_FORCES_PS, "the default: this prior has no forces at the ends")
    reason = f"{_STIFFNESS_IN_A_STEP:g} over the largest relaxation rate of a mode at the ends, {stiffness:.3g} per ps"
    return ChosenNumber(_two_digits(_STIFFNESS_IN_A_STEP / stiffness), reason)


def _stiffness_per_ps(score: Score, ends: Tensor, diffusion: Tensor) -> float:
    """Largest size of an eigenvalue of sqrt(D) J sqrt(D), J symmetrized, at either end, 1/ps."""
    jacobian = score.jacobian(ends)
    root = diffusion.to(ends).sqrt().repeat_interleave(ends.shape[-1])
    scaled = root.unsqueeze(0) * (jacobian + jacobian.mT) / 2 * root.unsqueeze(1)
    if not bool(scaled.isfinite().all()):
        raise PriorError(
            "the prior's score at the ends has no finite derivative. Look for clashes in the structures, and check the "
            "checkpoint, force field or plug-in of the prior."
        )
    return torch.linalg.eigvalsh(scaled).abs().max().item()


def _two_digits(value: float) -> float:
    """A number rounded to two digits, so that all processes of a run choose the same."""
    return float(f"{value:.1e}")

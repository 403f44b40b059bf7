"""Guidance along the committor alone: shots teach a reaction coordinate, and samples are drawn to its surface r = 0.

The first fit is to the shots from unguided samples. Then, in rounds, samples are drawn with the coordinate known so
far, shot from, and added. The rounds end early once new shots deviate from what was predicted for them hardly more than
chance makes them. Samples whose success is reported are drawn afterwards and get shots of their own, which teach
nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tpsctl.errors import DataError, RecipeError
from tpsctl.molecule.features import ContactFeatures, Features, InternalFeatures, PointFeatures
from tpsctl.molecule.geometry import dihedral
from tpsctl.optimize.tuning import Interval
from tpsctl.output.tables import Column
from tpsctl.recipe.auto import AUTO
from tpsctl.recipe.guide import CommittorKernelSection, PathGuidanceSection
from tpsctl.recipe.guide_success import CommittorSuccessSection
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.metrics import InTorsions
from tpsctl.score.guidance.schedules import SigmoidStrength
from tpsctl.score.guidance.surface import SurfaceGuide
from tpsctl.simulation.shooting.coordinate import (
    CoordinateFit,
    Weight,
    deviances,
    expected_deviance,
    fit_coordinate,
)
from tpsctl.validation.checks import are_beads
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.kernels.base import GuideKernel, KernelSchedules, Lesson
from tpsctl.workflows.guide.kernels.density import require_names, sigmoid_schedules, turning_torsions
from tpsctl.workflows.guide.structures import load_guides
from tpsctl.workflows.guide.tools import GuideTools

_BANDWIDTH = 0.3
"""Bandwidth in r if the recipe names none; the window of committors 0.4 to 0.6 is 0.4 logits to both sides."""

_NEAR_RAD = 0.3
"""How near samples stay to the torsions of the guides if the recipe does not say, rad."""

_TURN_RAD, _MOST_TURNING = math.radians(30.0), 3
"""Torsions that turn at least by this between the states multiply the features; at most so many, the largest turns."""

_NOISE = 1.15
"""New shots may deviate from their prediction by this factor more than chance makes them, and the rounds end."""

_SHOWN = 6

_HARDLY_BETTER = 0.9
_KNOWS_NOTHING = (
    ". THE COORDINATE PREDICTS HARDLY BETTER THAN A CONSTANT: samples were guided by nothing that shots confirm. Draw "
    "more unguided samples, give more shots and rounds, or use another kernel"
)

_MOST_FEATURES = 4000
"""The fit inverts a matrix of this size several hundred times."""


@dataclass(frozen=True)
class TaughtRound:
    """What one round taught.

    Attributes:
        samples: Samples of which shots reached a state.
        shots: Their shots.
        deviance: Mean deviance of these samples from the prediction before they were fitted; None without one.
        by_chance: What it would be if the prediction were exact.
        held_out: Mean held-out deviance of all samples so far after the fit.
    """

    samples: int
    shots: int
    deviance: float | None
    by_chance: float | None
    held_out: float

    @property
    def is_by_chance(self) -> bool:
        """Whether the shots deviate from their prediction hardly more than chance makes them."""
        if self.deviance is None or self.by_chance is None:
            return False
        return self.deviance <= _NOISE * self.by_chance


class CommittorKernel(GuideKernel):
    """The surface on which a fitted committor is one half.

    Args:
        tools: The prior.
        section: The guidance of the recipe, whose success is a committor.
        kernel: Its kernel.
        guides: The guides (guide, bead, dim), nm.

    Attributes:
        features: What the coordinate is linear in.
        near_rad: Bandwidth of the kernel that keeps samples near the guides, rad.
        fitted: The coordinate, once learned.
        rounds: What each round taught.
    """

    box = (
        Interval(0.3, 4.0, logarithmic=True),
        Interval(0.03, 0.3),
        Interval(0.1, 1.0, logarithmic=True),
        Interval(0.2, 1.2),
    )

    def __init__(
        self, tools: GuideTools, section: PathGuidanceSection, kernel: CommittorKernelSection, guides: Tensor
    ) -> None:
        assert isinstance(section.success, CommittorSuccessSection)  # the recipe says so
        self._tools, self._kernel, self._guides = tools, kernel, guides
        ends = load_guides(tools, section.success.ends, "guide.success.ends")
        self.features = _features(tools, kernel, ends)
        by_contacts = isinstance(self.features, ContactFeatures) and kernel.near_rad == AUTO
        self._near = None if by_contacts or not tools.is_molecule else InTorsions(_quadruples(tools))
        if not tools.is_molecule and kernel.near_rad != AUTO:
            raise RecipeError("guide.kernel.near_rad: a point has no torsions. Leave this key out.")
        self.most_lessons = kernel.rounds
        self.near_rad = _NEAR_RAD if kernel.near_rad == AUTO else float(kernel.near_rad)

    def learn(self, unguided: Drawn, clock: GuidanceClock) -> None:
        self._clock, self.rounds, self._known = clock, list[TaughtRound](), list[Drawn]()
        strength, bandwidth = self._kernel.strength, self._kernel.bandwidth
        floor = _BANDWIDTH if bandwidth.floor == AUTO else float(bandwidth.floor)
        self.given = (strength.height, strength.midpoint, floor, bandwidth.midpoint)
        self._fit(unguided, None, None)

    def lesson(self) -> Lesson | None:
        number, last = len(self.rounds), self.rounds[-1]
        if number > self._kernel.rounds or last.is_by_chance:
            return None
        guide = self.guide(self.given)
        return Lesson(f"lesson {number}", guide, self._kernel.samples, self._kernel.shots)

    def study(self, drawn: Drawn) -> str:
        a, b = (drawn.marks[name].double() for name in ("to_a", "to_b"))
        shot = (a + b) > 0
        r = self.fitted.coordinate(drawn.x[shot])
        if not bool(shot.any()):
            self._fit(drawn, None, None)
            return "no shot reached a state"
        deviance = float(deviances(r, a[shot], b[shot]).mean())
        by_chance = expected_deviance(r, (a + b)[shot])
        self._fit(drawn, deviance, by_chance)
        return f"deviance of new shots {deviance:.2f} (by chance {by_chance:.2f})"

    def guide(self, numbers: Sequence[float], factor: float = 1.0) -> SurfaceGuide:
        schedules, clock, model = self.schedules(numbers), self._clock, self._tools.model
        coordinate = self.fitted.coordinate
        near_strength = SigmoidStrength(1.0, self._kernel.strength.slope, self._kernel.near_midpoint)
        return SurfaceGuide(
            lambda y: coordinate(model.to_nm(y)),
            strength=lambda width: schedules.strength(clock.time(width)),
            bandwidth=lambda width: factor * schedules.bandwidth(clock.time(width)),
            near=None if self._near is None else self._log_near,
            near_strength=lambda width: near_strength(clock.time(width)),
            centered=model.law.centered,
        )

    def schedules(self, numbers: Sequence[float]) -> KernelSchedules:
        return sigmoid_schedules(self._kernel, numbers)

    def facts(self) -> dict[str, Any]:
        fitted = self.fitted
        about = {
            "penalty": fitted.penalty,
            "held_out_deviance": fitted.deviance,
            "held_out_deviance_by_penalty": {f"{penalty:g}": value for penalty, value in fitted.held_out.items()},
            "deviance_by_chance": fitted.expected,
            "deviance_of_a_constant": fitted.null,
            "features": self.features.count,
            "samples": fitted.samples,
            "shots": fitted.shots,
            "rounds": [asdict(each) for each in self.rounds],
            "committor_of_guides": torch.sigmoid(fitted.coordinate(self._guides)).tolist(),
        }
        return {"coordinate": about | {"words": self._words()}}

    def tables(self) -> dict[str, dict[str, Column]]:
        coordinate, weights = self.fitted.coordinate, self._weights()
        of_features = torch.cat((coordinate.weights, torch.tensor([coordinate.offset], dtype=torch.float64)))
        return {
            "coordinate.csv": {
                "variable": [weight.variable for weight in weights],
                "logits": torch.tensor([weight.logits for weight in weights], dtype=torch.float64),
            },
            "coefficients.csv": {"feature": [*self.features.names, "1"], "coefficient": of_features},
        }

    def _fit(self, drawn: Drawn, deviance: float | None, by_chance: float | None) -> None:
        self._known.append(drawn)
        x = torch.cat([each.x for each in self._known])
        a, b = (torch.cat([each.marks[name] for each in self._known]) for name in ("to_a", "to_b"))
        try:
            self.fitted: CoordinateFit = fit_coordinate(self.features, x, a, b, seed=self._tools.recipe.seed)
        except DataError as error:
            raise RecipeError(f"guide.kernel: {error}") from None
        shots = drawn.marks["to_a"] + drawn.marks["to_b"]
        self.rounds.append(
            TaughtRound(int((shots > 0).sum()), int(shots.sum()), deviance, by_chance, self.fitted.deviance)
        )

    def _weights(self) -> list[Weight]:
        return self.fitted.coordinate.weighed(torch.cat([each.x for each in self._known]))

    def _words(self) -> str:
        fitted = self.fitted
        rounds = len(self.rounds)
        shown = ", ".join(f"{weight.variable} {weight.logits:.2g}" for weight in self._weights()[:_SHOWN])
        return (
            f"reaction coordinate from {fitted.shots} shots from {fitted.samples} samples in {rounds} rounds: held-out "
            f"deviance {fitted.deviance:.3g} per sample (by chance {fitted.expected:.3g}, with a constant "
            f"committor {fitted.null:.3g}); logits per spread of a variable near p_B = 1/2: {shown}"
            + (_KNOWS_NOTHING if fitted.deviance > _HARDLY_BETTER * fitted.null else "")
        )

    def _log_near(self, y: Tensor) -> Tensor:
        """The log-density of a kernel in the torsions of the guides."""
        assert self._near is not None
        x = self._tools.model.to_nm(y).double()
        return torch.logsumexp(-self._near.squared(x, self._guides.to(x)) / (2 * self.near_rad**2), 1)


def _quadruples(tools: GuideTools) -> Tensor:
    return torch.tensor([torsion.atoms for torsion in turning_torsions(tools).values()])


def _features(tools: GuideTools, kernel: CommittorKernelSection, ends: Tensor) -> Features:
    """What the coordinate is linear in."""
    if not tools.is_molecule:
        if kernel.turning:
            raise RecipeError("guide.kernel.turning: a point has no torsions. Leave this key out.")
        return PointFeatures(tools.prior.n_dims)
    if not kernel.turning and are_beads(tools.topology, ends):
        contacts = ContactFeatures(tools.topology, ends)
        if contacts.count:
            return contacts
    turning = _turning(tools, kernel, ends)
    found = InternalFeatures(tools.topology, turning)
    if found.count > _MOST_FEATURES:
        raise RecipeError(
            f"guide.kernel: {found.count} features of this molecule with {len(turning)} turning torsions, expected at "
            f"most {_MOST_FEATURES}. Name fewer of them under guide.kernel.turning, or use a prior of fewer beads."
        )
    return found


def _turning(tools: GuideTools, kernel: CommittorKernelSection, ends: Tensor) -> tuple[str, ...]:
    """The torsions that the recipe names, or those that turn most between the ends."""
    by_name = turning_torsions(tools)
    if kernel.turning:
        require_names(kernel.turning, by_name, "guide.kernel.turning")
        return kernel.turning
    angle = dihedral(ends, _quadruples(tools))
    turn = torch.atan2((angle[1] - angle[0]).sin(), (angle[1] - angle[0]).cos()).abs()
    ranked = sorted(range(len(turn)), key=lambda k: (-float(turn[k]), k))
    names = list(by_name)
    return tuple(names[k] for k in ranked[:_MOST_TURNING] if float(turn[k]) >= _TURN_RAD)

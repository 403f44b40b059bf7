"""Success where the committor lies in a window, by shooting from every sample.

Shots from a sample end once the 95 % interval of p_B has nothing in common with the window, so that only samples near
it get all shots. A sample inside a state is decided without any, because its first frame has arrived already. Shot j
from sample k of a stream always has the same random numbers.
"""

import torch
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.recipe.guide_success import CommittorSuccessSection, ForceFieldShotsSection
from tpsctl.score.precision import ScoreInPrecision
from tpsctl.simulation.shooting.committor import Committor, WindowRule
from tpsctl.simulation.shooting.dynamics import Arrival, ShotSeed, arrival_of
from tpsctl.simulation.shooting.states import NEITHER, TwoStates
from tpsctl.workflows.guide.structures import load_guides
from tpsctl.workflows.guide.success.base import WANTED, Success
from tpsctl.workflows.guide.tools import GuideTools
from tpsctl.workflows.sample.assemble.prior import precision_of
from tpsctl.workflows.shoot.engine import PriorLaw, ShotDynamics, langevin_dynamics, overdamped_dynamics
from tpsctl.workflows.shoot.settings import PhysicsSettings
from tpsctl.workflows.shoot.states import StateMaker

BLOCK = 10
"""Shots from one sample between two looks at its committor."""


class CommittorSuccess(Success):
    """Committors by shooting.

    Args:
        states: Where shots end.
        dynamics: How they move.
        rule: When there are enough of them.
        tuning: Most shots from a sample in an evaluation of a tuner.
    """

    def __init__(self, states: TwoStates, dynamics: ShotDynamics, rule: WindowRule, tuning: int) -> None:
        self._states, self._dynamics = states, dynamics
        self._rule, self._rough = rule, WindowRule(rule.least, tuning, rule.low, rule.high)
        self.name = f"committor from {rule.low:g} to {rule.high:g} by {dynamics.name}"

    def judge(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        rule = self._rough if tuning else self._rule
        found = self._shoot(x, stream, rule)
        return {WANTED: torch.tensor([rule.holds(each) for each in found], dtype=torch.bool)} | _counted(found)

    def shots(self, x: Tensor, stream: tuple[int, ...], number: int) -> dict[str, Tensor]:
        """Where a fixed number of shots from each configuration (sample, bead, dim), nm, ended; see `judge`."""
        return _counted(self._shoot(x, stream, WindowRule(number, number, self._rule.low, self._rule.high)))

    def _shoot(self, x: Tensor, stream: tuple[int, ...], rule: WindowRule) -> list[Committor]:
        """How the shots from each sample ended; one of them stands for all where the sample is inside a state."""
        where = self._states.where(x)
        arrivals = [[arrival_of(one)] if one != NEITHER else [] for one in where]
        waiting = [k for k, found in enumerate(arrivals) if not found]
        while waiting:
            shots = [(k, n) for k in waiting for n in _next_numbers(arrivals[k], rule)]
            starts, seeds = x[[k for k, _ in shots]], [ShotSeed((*stream, *shot)) for shot in shots]
            flights = self._dynamics.propagator.fly(starts, seeds, self._states, self._dynamics.longest_ps)
            for (k, _), flight in zip(shots, flights, strict=True):
                arrivals[k].append(flight.arrival)
            waiting = [k for k in waiting if not rule.enough(Committor.of(arrivals[k]))]
        return [Committor.of(each) for each in arrivals]


def _counted(found: list[Committor]) -> dict[str, Tensor]:
    """Columns of samples.csv."""
    return {"p_b": torch.tensor([each.p_b for each in found], dtype=torch.float64)} | {
        name: torch.tensor([getattr(each, field) for each in found], dtype=torch.int64)
        for name, field in (("to_a", "a"), ("to_b", "b"), ("to_neither", "neither"), ("failed", "failed"))
    }


def _next_numbers(arrivals: list[Arrival], rule: WindowRule) -> range:
    return range(len(arrivals), min(len(arrivals) + BLOCK, rule.most))


def committor_success(tools: GuideTools, section: CommittorSuccessSection, guides: Tensor) -> CommittorSuccess:
    """Success by the committor of a recipe; guides (guide, bead, dim), nm, are where the prior is stiff.

    Raises:
        RecipeError: There are not two ends, a state does not fit them, or the force field does not fit the molecule.
    """
    key = "guide.success.ends"
    ends = load_guides(tools, section.ends, key)
    if len(ends) != 2:
        raise RecipeError(f"{key}: got {len(ends)} structures, expected 2: one in state A, one in state B.")
    topology = tools.topology if tools.is_molecule else None
    states, _ = StateMaker(topology, ends, key="guide.success.states").make(section.states)
    dynamics = _dynamics(tools, section, torch.cat((ends, guides)))
    shots = section.shots
    rule = WindowRule(shots.least, shots.most, section.low, section.high)
    return CommittorSuccess(states, dynamics, rule, shots.tuning)


def _dynamics(tools: GuideTools, section: CommittorSuccessSection, x: Tensor) -> ShotDynamics:
    given = section.dynamics
    if isinstance(given, ForceFieldShotsSection):
        if not tools.is_molecule:
            raise RecipeError("guide.success.dynamics: a point has no force field. Use kind: prior.")
        wanted = PhysicsSettings(
            "force_field", given.temperature_k, given.friction_per_ps, given.dt_ps, given.longest_ps
        )
        return langevin_dynamics(tools.topology, given.force_field, wanted, given.temperature_k)
    wanted = PhysicsSettings("prior", dt_ps=given.dt_ps, longest_ps=given.longest_ps)
    score = ScoreInPrecision(tools.prior.at(tools.time), precision_of(tools.recipe.prior))
    law = PriorLaw(tools.recipe.prior.kind, tools.time, tools.recipe.seed)
    return overdamped_dynamics(score, law, wanted, x)

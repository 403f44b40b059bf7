"""What draws samples to guides: a guide for numbers that may be tuned, and what it has to be taught before."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tpsctl.optimize.tuning import Interval
from tpsctl.output.tables import Column
from tpsctl.score.guidance.base import Guide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.score.guidance.schedules import SigmoidBandwidth, SigmoidStrength
from tpsctl.workflows.guide.drawing import Drawn


@dataclass(frozen=True)
class Lesson:
    """Samples that teach a kernel: how they are drawn, and how many shots each of them gets.

    Attributes:
        name: Their name.
        guide: Their guide.
        samples: Their number.
        shots: Shots from each.
    """

    name: str
    guide: Guide
    samples: int
    shots: int


@dataclass(frozen=True)
class KernelSchedules:
    """Strength and bandwidth as functions of the time of the guidance's clock."""

    strength: SigmoidStrength
    bandwidth: SigmoidBandwidth


class GuideKernel(ABC):
    """One way to draw samples to guides.

    Attributes:
        names: Names of the numbers that may be tuned.
        box: Their ranges.
        given: Their values in the recipe, once learned.
        most_lessons: Most lessons.
    """

    names = ("strength_height", "strength_midpoint", "bandwidth_floor", "bandwidth_midpoint")
    box: tuple[Interval, ...]
    given: tuple[float, ...]
    most_lessons: int = 0

    @abstractmethod
    def learn(self, unguided: Drawn, clock: GuidanceClock) -> None:
        """Learn what is needed from samples without guidance; before anything below is called."""

    @abstractmethod
    def guide(self, numbers: Sequence[float], factor: float = 1.0) -> Guide:
        """The guide with these numbers, and with a bandwidth that is `factor` times as large."""

    @abstractmethod
    def schedules(self, numbers: Sequence[float]) -> KernelSchedules:
        """The schedules with these numbers."""

    def lesson(self) -> Lesson | None:
        """The next lesson; None if there is nothing more to learn."""
        return None

    def study(self, drawn: Drawn) -> str:
        """Learn from the samples of a lesson, with the shots from them; what is known now, in words."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Entries of the manifest."""
        return {}

    def tables(self) -> dict[str, dict[str, Column]]:
        """Tables by file name."""
        return {}

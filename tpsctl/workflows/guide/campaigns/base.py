"""What a kind of guidance knows: what it learns from unguided samples, its guide, and how good guided samples are."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tpsctl.optimize.tuning import Interval
from tpsctl.output.figures.guidance import SamplePlane, TargetRow
from tpsctl.output.tables import Column
from tpsctl.recipe.guide import TuneSection
from tpsctl.score.guidance.base import Guide
from tpsctl.score.guidance.clock import GuidanceClock
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.kernels.base import Lesson

UNGUIDED, GUIDED = "unguided", "guided"
"""Names of the samples without and with guidance."""


@dataclass(frozen=True)
class Evaluation:
    """How good guided samples are.

    Attributes:
        value: The objective, which is made small.
        misfit: Its first part: 1 - success, or the squared deviation from the targets.
        work_nats: The excess work, which costs gamma_w per nat.
    """

    value: float
    misfit: float
    work_nats: float


@dataclass(frozen=True)
class CampaignReport:
    """What a kind of guidance writes beside what every guided run writes.

    Attributes:
        facts: Entries of the manifest.
        tables: Tables by file name.
        columns: Further columns of samples.csv.
        comparison: Rows of the figure of targets.
        plane: The figure of samples; None for none.
    """

    facts: dict[str, Any]
    tables: dict[str, dict[str, Column]] = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    comparison: tuple[TargetRow, ...] = ()
    plane: SamplePlane | None = None


class Campaign(ABC):
    """One kind of guidance for one recipe.

    Attributes:
        names: Names of the numbers that may be tuned.
        box: Their ranges.
        given: Their values in the recipe.
        tune: How they are tuned; None if they are not.
        most_lessons: Most lessons before guided samples are drawn.
    """

    names: tuple[str, ...]
    box: tuple[Interval, ...]
    given: tuple[float, ...]
    tune: TuneSection | None
    most_lessons: int = 0

    @abstractmethod
    def learn(self, unguided: Drawn) -> None:
        """Learn what the guide needs from samples without guidance; before anything below is called.

        Raises:
            RecipeError: What is wanted cannot be reached from these samples.
        """

    def lesson(self) -> Lesson | None:
        """The next lesson before guided samples are drawn; None if there is nothing more to learn."""
        return None

    def study(self, drawn: Drawn) -> str:
        """Learn from the samples of a lesson; what is known now, in words."""
        raise NotImplementedError

    def mark_lesson(self, x: Tensor, stream: tuple[int, ...], shots: int) -> dict[str, Tensor]:
        """What shots from samples of a lesson, in nm, say of them; see `mark`."""
        raise NotImplementedError

    @abstractmethod
    def guide(self, numbers: Sequence[float]) -> Guide:
        """The guide with these numbers."""

    def mark(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        """What is found of each sample, in nm, once and for all when it is drawn, because that may be costly.

        Args:
            x: The samples (sample, bead, dim), nm.
            stream: Words of the seed that random numbers of this depend on.
            tuning: Whether the samples only help the tuner to choose numbers.
        """
        return {}

    @abstractmethod
    def misfit(self, drawn: Drawn) -> float:
        """What guided samples miss: 1 - success, or the squared deviation from the targets."""

    @abstractmethod
    def beside(self, numbers: Sequence[float]) -> dict[str, Guide]:
        """Further guides to compare with, by name."""

    @abstractmethod
    def outcome(self, drawn: Mapping[str, Drawn]) -> str:
        """ "complete" if the guided samples are what was wanted; else what is wrong, in one word."""

    @abstractmethod
    def report(self, drawn: Mapping[str, Drawn], numbers: Sequence[float]) -> CampaignReport:
        """What is written of the samples that were drawn with these numbers."""

    @abstractmethod
    def course(self, widths: Sequence[float], numbers: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
        """The time at each noise width, and the schedules there by name."""

    def evaluate(self, drawn: Drawn) -> Evaluation:
        """The objective of guided samples."""
        assert self.tune is not None
        misfit, work = self.misfit(drawn), drawn.work.nats
        return Evaluation(misfit + self.tune.work_weight * work, misfit, work)


def clock_of(unguided: Drawn) -> GuidanceClock:
    """The clock of guidance, from the spread of unguided samples."""
    y = unguided.samples.y
    return GuidanceClock(float((y - y.mean((0, 1))).square().mean().sqrt()))

"""The rounds of a guided run: unguided samples, evaluations of the tuner, guided samples and those beside them.

Each block of samples is a file, so that a kill costs at most one block, and any number of processes share a round.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from tpsctl.jobs.batches import StoredBatch
from tpsctl.jobs.rounds import Rounds
from tpsctl.optimize.state import named
from tpsctl.optimize.tuning import next_point, spread_points
from tpsctl.score.guidance.base import Guide, NoGuide
from tpsctl.workflows.guide.campaigns.base import GUIDED, UNGUIDED, Campaign, Evaluation
from tpsctl.workflows.guide.drawing import Drawn, draw
from tpsctl.workflows.guide.kernels.base import Lesson
from tpsctl.workflows.guide.tools import GuideTools

_TUNING = "tuning"
_PHASE = {UNGUIDED: 0, _TUNING: 1, GUIDED: 2}
_BESIDE_PHASE, _LESSON_PHASE = 3, 100
_OFFSET = 1e-3
"""Added to the objective before its logarithm is modeled, which tames the large work of strong guides."""

_Block = tuple[str, Guide, int, int, int]
"""Name of the samples, guide, number, phase and stream of random numbers."""


class GuideRounds(Rounds):
    """A guided run.

    Args:
        tools: What it is made with.
        campaign: The kind of guidance.

    Attributes:
        drawn: Finished samples by name.
        lessons: Finished lessons by name.
        points: Numbers that the tuner tried.
        evaluations: How good they were.
    """

    def __init__(self, tools: GuideTools, campaign: Campaign) -> None:
        self._tools, self._campaign = tools, campaign
        self.drawn: dict[str, Drawn] = {}
        self.lessons: dict[str, Drawn] = {}
        self.points: list[list[float]] = []
        self.evaluations: list[Evaluation] = []
        self._planned: list[_Block] = []
        self._wanted: list[list[float]] = []
        self._lesson: Lesson | None = None
        self.most = (
            2
            + campaign.most_lessons
            + (0 if campaign.tune is None else 1 + campaign.tune.evaluations - campaign.tune.initial)
        )

    @property
    def numbers(self) -> list[float]:
        """The numbers in use: the tuned ones, or the recipe's."""
        if not self.evaluations:
            return list(self._campaign.given)
        values = [evaluation.value for evaluation in self.evaluations]
        return self.points[values.index(min(values))]

    def plan(self) -> int:
        tune, self._lesson = self._campaign.tune, None
        if UNGUIDED not in self.drawn:
            self._planned = self._blocks(UNGUIDED, NoGuide(), _PHASE[UNGUIDED])
        elif not self.points and GUIDED not in self.drawn and (lesson := self._campaign.lesson()) is not None:
            self._lesson, phase = lesson, _LESSON_PHASE + len(self.lessons)
            self._planned = self._blocks(lesson.name, lesson.guide, phase, lesson.samples)
        elif tune is not None and len(self.points) < tune.evaluations:
            self._wanted = self._next_points(tune.initial)
            self._planned = [
                (_TUNING, self._campaign.guide(point), tune.samples, _PHASE[_TUNING], 0) for point in self._wanted
            ]
        elif GUIDED not in self.drawn:
            numbers = self.numbers
            self._planned = self._blocks(GUIDED, self._campaign.guide(numbers), _PHASE[GUIDED])
            for k, (name, guide) in enumerate(self._campaign.beside(numbers).items()):
                self._planned += self._blocks(name, guide, _BESIDE_PHASE + k)
        else:
            self._planned = []
        return len(self._planned)

    def run(self, block: int) -> StoredBatch:
        name, guide, count, phase, stream = self._planned[block]
        drawn = draw(self._tools, guide, count, phase=phase, stream=stream)
        words = (self._tools.recipe.seed, phase, stream)
        if self._lesson is not None:
            marks = self._campaign.mark_lesson(drawn.x, words, self._lesson.shots)
        else:
            marks = self._campaign.mark(drawn.x, words, tuning=name == _TUNING)
        return replace(drawn, marks=marks).store(), {}

    def merge(self, results: Sequence[StoredBatch]) -> str:
        by_name: dict[str, list[Mapping[str, Tensor]]] = {}
        for (name, *_), (tensors, _) in zip(self._planned, results, strict=True):
            by_name.setdefault(name, []).append(tensors)
        if _TUNING in by_name:
            self.points += self._wanted
            self.evaluations += [self._campaign.evaluate(Drawn.joined([block])) for block in by_name[_TUNING]]
            best = min(self.evaluations, key=lambda evaluation: evaluation.value)
            return f"tuned {len(self.points)} times, best {best.value:.3g} (misfit {best.misfit:.3g})"
        if self._lesson is not None:
            found = Drawn.joined(by_name[self._lesson.name])
            self.lessons[self._lesson.name] = found
            return f"{self._lesson.name}: {self._campaign.study(found)}"
        self.drawn |= {name: Drawn.joined(blocks) for name, blocks in by_name.items()}
        if UNGUIDED in by_name:
            self._campaign.learn(self.drawn[UNGUIDED])
        return ", ".join(f"{len(drawn.x)} {name} samples" for name, drawn in self.drawn.items())

    def store(self, facts: dict[str, Any]) -> StoredBatch:
        """The finished run as plain tensors and JSON facts."""
        tensors: dict[str, Tensor] = {}
        for name, drawn in (self.drawn | self.lessons).items():
            tensors |= named(name, drawn.store())
        tried = [
            {"numbers": point, "value": e.value, "misfit": e.misfit, "work_nats": e.work_nats}
            for point, e in zip(self.points, self.evaluations, strict=True)
        ]
        names = {"names": list(self.drawn), "lessons": list(self.lessons)}
        return tensors, facts | names | {"numbers": self.numbers, _TUNING: tried}

    @property
    def _seed(self) -> int:
        return self._tools.recipe.seed % 2**32

    def _next_points(self, initial: int) -> list[list[float]]:
        if not self.points:
            return spread_points(self._campaign.box, initial, self._seed)
        values = [math.log(_OFFSET + evaluation.value) for evaluation in self.evaluations]
        return [next_point(self._campaign.box, self.points, values, self._seed)]

    def _blocks(self, name: str, guide: Guide, phase: int, count: int | None = None) -> list[_Block]:
        """Blocks of as many samples as the recipe wants, or of `count`."""
        sampling = self._tools.recipe.sampling
        count, size = count or sampling.samples, sampling.batch_samples
        return [(name, guide, min(size, count - start), phase, k) for k, start in enumerate(range(0, count, size))]

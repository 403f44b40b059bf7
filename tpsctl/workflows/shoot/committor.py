"""The job that finds the committor of several starts by shots, added until the rule has enough of them.

A round is one block of shots for every start whose committor is not known yet. A shot depends on the seed, its start
and its number only, and how many shots there are depends on the shots alone; so the result is the same for any number
of processes, and after a kill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.jobs.batches import BatchedJob, StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.jobs.rounds import Rounds, do_rounds
from tpsctl.progress import Progress
from tpsctl.simulation.shooting.committor import Committor, ShotRule
from tpsctl.simulation.shooting.dynamics import Arrival, ShotSeed
from tpsctl.simulation.shooting.states import TwoStates
from tpsctl.workflows.sample.batch import now
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.shoot.engine import ShotDynamics
from tpsctl.workflows.shoot.starts import Start

BLOCK = 20
"""Shots from one start in a block."""

ARRIVALS = tuple(Arrival)


@dataclass(frozen=True)
class Question:
    """What is asked: the committor of these starts, for these states and dynamics.

    Attributes:
        starts: Where shots start.
        states: Where they end.
        dynamics: How they move.
        seed: Seed of all random numbers.
        rule: When there are enough of them.
    """

    starts: Sequence[Start]
    states: TwoStates
    dynamics: ShotDynamics
    seed: int
    rule: ShotRule


@dataclass(frozen=True)
class Shots:
    """All shots from one start: how each ended (index of `ARRIVALS`), and after what time, ps."""

    arrival: Tensor
    length_ps: Tensor

    @classmethod
    def none(cls) -> "Shots":
        return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64))

    def and_then(self, other: "Shots") -> "Shots":
        """These and later ones."""
        return Shots(torch.cat((self.arrival, other.arrival)), torch.cat((self.length_ps, other.length_ps)))

    @property
    def arrivals(self) -> list[Arrival]:
        """How each ended."""
        return [ARRIVALS[k] for k in self.arrival.tolist()]

    @property
    def committor(self) -> Committor:
        """The shots, counted."""
        return Committor.of(self.arrivals)


class CommittorRounds(Rounds):
    """Blocks of shots for every start that needs more.

    Attributes:
        shots: All shots so far, one entry per start.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self.most = -(-question.rule.most // BLOCK)
        self.shots = [Shots.none() for _ in question.starts]

    def plan(self) -> int:
        """The starts that need more shots."""
        return len(self._open)

    def run(self, block: int) -> StoredBatch:
        """Shoot one block."""
        question = self._question
        which = self._open[block]
        start, first = question.starts[which], len(self.shots[which].arrival)
        numbers = range(first, min(first + BLOCK, question.rule.most))
        seeds = [ShotSeed((question.seed, start.number, number)) for number in numbers]
        x = start.x.expand(len(seeds), *start.x.shape)
        dynamics = question.dynamics
        flights = dynamics.propagator.fly(x, seeds, question.states, dynamics.longest_ps)
        arrival = torch.tensor([ARRIVALS.index(flight.arrival) for flight in flights])
        length_ps = torch.tensor([flight.length_ps for flight in flights], dtype=torch.float64)
        return {"arrival": arrival, "length_ps": length_ps}, {}

    def merge(self, results: Sequence[StoredBatch]) -> str:
        """Add the shots of a round."""
        for which, (tensors, _) in zip(self._open, results, strict=True):
            self.shots[which] = self.shots[which].and_then(Shots(tensors["arrival"], tensors["length_ps"]))
        shots = sum(len(found.arrival) for found in self.shots)
        return f"{shots} shots, {len(self._open)} of {len(self.shots)} starts need more"

    @property
    def _open(self) -> list[int]:
        return [k for k, found in enumerate(self.shots) if not self._question.rule.enough(found.committor)]


class CommittorSearch(BatchedJob):
    """The committors of all starts; one batch, on which all shards work."""

    def __init__(self, question: Question, about: dict[str, Any], progress: Progress) -> None:
        self._question, self._about, self._progress = question, about, progress

    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Shoot until every committor is known.

        Raises:
            Interrupted: The job was told to stop; every finished block of shots is kept.
        """
        clock, started = Clock(), now()
        rounds = CommittorRounds(self._question)
        do_rounds(rounds, keeper, self._progress)
        clock.lap("shots")
        tensors = {
            f"{name}.{k}": getattr(found, name)
            for k, found in enumerate(rounds.shots)
            for name in ("arrival", "length_ps")
        }
        return tensors, {"started": started, "seconds": clock.seconds}

    def is_good(self, batch: StoredBatch) -> bool:
        """Whether the image that is asked about belongs to the transition state."""
        from tpsctl.workflows.shoot.committor_results import outcome_of

        return outcome_of(self._question.starts, self._shots(batch)) == "complete"

    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write the tables; the manifest."""
        from tpsctl.workflows.shoot.committor_results import write_committors

        return write_committors(folder, self._question, self._shots(batches[0]), self._about | batches[0][1])

    def _shots(self, batch: StoredBatch) -> list[Shots]:
        tensors, _ = batch
        return [Shots(tensors[f"arrival.{k}"], tensors[f"length_ps.{k}"]) for k in range(len(self._question.starts))]

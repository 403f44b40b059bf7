"""The job that samples transition paths by two-way shooting: several chains, until enough paths are accepted.

A round is one block of trials for every chain. What a chain does depends on the seed, its number and the number of the
trial only, so the result is the same for any number of processes, and after a kill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.jobs.batches import BatchedJob, StoredBatch
from tpsctl.jobs.keeper import ShardKeeper
from tpsctl.jobs.rounds import Rounds, do_rounds
from tpsctl.progress import Progress
from tpsctl.simulation.shooting.two_way import TrialOutcome, TwoWay
from tpsctl.workflows.sample.batch import now
from tpsctl.workflows.sample.clock import Clock

CHAINS, TRIALS = 8, 10
"""Chains, and the trials of one of them in a block."""

BURN_IN = 20
"""First trials of a chain, which forget how its first path came about and do not count."""

_CHAIN_SEED = 2_000_000

OUTCOMES = tuple(TrialOutcome)

Features = Callable[[Tensor], Tensor]
"""Collective variables (frame, cv) of frames (frame, bead, dim): torsions in rad, or coordinates in nm."""


@dataclass(frozen=True)
class EnsembleQuestion:
    """What is asked: so many accepted paths from these dynamics.

    Attributes:
        start: The configuration that chains begin from (bead, dim), nm.
        two_way: How paths are made.
        features: The collective variables.
        seed: Seed of all random numbers.
        wanted: Accepted paths after the first trials of every chain.
    """

    start: Float[Tensor, "bead dim"]
    two_way: TwoWay
    features: Features
    seed: int
    wanted: int


@dataclass
class ChainOfPaths:
    """One chain.

    Attributes:
        present: The frames of its present path, nm; None before the first one.
        outcomes: How every trial went (index of `OUTCOMES`).
        frames: Number of frames of the path after every trial.
        paths: Collective variables of every path that counts.
        weights: For how many trials each of them was the present one.
    """

    present: Tensor | None = None
    outcomes: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    paths: list[Tensor] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Accepted trials that count."""
        return sum(OUTCOMES[k] is TrialOutcome.ACCEPTED for k in self.outcomes[BURN_IN:])

    def add(self, tensors: dict[str, Tensor]) -> None:
        """Add the trials of a block."""
        parts = iter(tensors["features"].split(tensors["feature_frames"].tolist()))
        before = next(parts)
        for outcome, frames in zip(tensors["outcome"].tolist(), tensors["frames"].tolist(), strict=True):
            moved = OUTCOMES[outcome] is TrialOutcome.ACCEPTED
            before = next(parts) if moved else before
            counts = len(self.outcomes) >= BURN_IN
            self.outcomes.append(outcome)
            self.frames.append(frames)
            if counts and (moved or not self.paths):
                self.paths.append(before)
                self.weights.append(0.0)
            if counts:
                self.weights[-1] += 1.0
        self.present = tensors["present"]


class EnsembleRounds(Rounds):
    """Blocks of trials for every chain, until enough paths are accepted.

    Attributes:
        chains: All chains.
    """

    def __init__(self, question: EnsembleQuestion) -> None:
        self._question = question
        self.most = 0  # how many trials will be accepted is unknown
        self.chains = [ChainOfPaths() for _ in range(CHAINS)]

    def plan(self) -> int:
        """All chains, or none if enough paths are accepted."""
        return CHAINS if self._accepted < self._question.wanted else 0

    def run(self, block: int) -> StoredBatch:
        """Make the trials of one chain."""
        question, chain = self._question, self.chains[block]
        words = (question.seed, _CHAIN_SEED + block)
        path = chain.present
        path = question.two_way.first_path(question.start, words) if path is None else path
        features, outcomes, frames = [question.features(path)], [], []
        for number in range(len(chain.outcomes), len(chain.outcomes) + TRIALS):
            path, outcome = question.two_way.trial(path, words, number)
            outcomes.append(OUTCOMES.index(outcome))
            frames.append(len(path))
            if outcome is TrialOutcome.ACCEPTED:
                features.append(question.features(path))
        tensors = {
            "present": path.contiguous(),
            "outcome": torch.tensor(outcomes),
            "frames": torch.tensor(frames),
            "features": torch.cat(features),
            "feature_frames": torch.tensor([len(each) for each in features]),
        }
        return tensors, {}

    def merge(self, results: Sequence[StoredBatch]) -> str:
        """Add the trials of a round."""
        for chain, (tensors, _) in zip(self.chains, results, strict=True):
            chain.add(tensors)
        trials = sum(len(chain.outcomes) for chain in self.chains)
        return f"{self._accepted} of {self._question.wanted} paths accepted, {trials} trials"

    @property
    def _accepted(self) -> int:
        return sum(chain.accepted for chain in self.chains)


class EnsembleSearch(BatchedJob):
    """The ensemble; one batch, on which all shards work.

    Args:
        question: What is asked.
        write_ensemble: Writes the tables of all chains into a folder, and returns the manifest.
        progress: Told what is done.
    """

    def __init__(
        self,
        question: EnsembleQuestion,
        write_ensemble: Callable[[Path, Sequence[ChainOfPaths], dict[str, Any]], dict[str, Any]],
        progress: Progress,
    ) -> None:
        self._question, self._write, self._progress = question, write_ensemble, progress

    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Make trials until enough paths are accepted.

        Raises:
            Interrupted: The job was told to stop; every finished block of trials is kept.
            TpsctlError: No trajectory joins the states.
        """
        clock, started = Clock(), now()
        rounds = EnsembleRounds(self._question)
        do_rounds(rounds, keeper, self._progress)
        clock.lap("trials")
        tensors: dict[str, Tensor] = {}
        for k, chain in enumerate(rounds.chains):
            tensors[f"outcomes.{k}"] = torch.tensor(chain.outcomes)
            tensors[f"frames.{k}"] = torch.tensor(chain.frames)
            tensors[f"weights.{k}"] = torch.tensor(chain.weights)
            tensors[f"lengths.{k}"] = torch.tensor([len(path) for path in chain.paths])
            tensors[f"paths.{k}"] = torch.cat(chain.paths)
        return tensors, {"started": started, "seconds": clock.seconds}

    def is_good(self, batch: StoredBatch) -> bool:
        """Whether there are enough paths, which a finished batch always has."""
        return True

    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write the tables; the manifest."""
        tensors, facts = batches[0]
        chains = [
            ChainOfPaths(
                outcomes=tensors[f"outcomes.{k}"].tolist(),
                frames=tensors[f"frames.{k}"].tolist(),
                paths=list(tensors[f"paths.{k}"].split(tensors[f"lengths.{k}"].tolist())),
                weights=tensors[f"weights.{k}"].tolist(),
            )
            for k in range(CHAINS)
        ]
        return self._write(folder, chains, {"started": facts["started"], "seconds": facts["seconds"]})

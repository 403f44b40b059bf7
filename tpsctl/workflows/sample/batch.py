"""A batch of paths: an attempt that an interruption may cut, and what is kept when it is finished."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from tpsctl.guess.screen import Screening
from tpsctl.jobs.batches import StoredBatch
from tpsctl.optimize.outcome import Outcome
from tpsctl.optimize.state import State, named, within
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.sample.judge import PathVerdicts
from tpsctl.workflows.sample.trace import Trace


@dataclass
class Attempt:
    """A batch under way, as it is at the beginning or as a snapshot has it.

    Attributes:
        paths: Where the optimization starts: the guesses, or with a state any paths of their shape, nm.
        screening: How the guesses came about.
        clock: Wall time of the parts so far.
        facts: The machine and when the work began; no part of the result.
        trace: Every optimizer step so far.
        state: Where the optimization was when it was interrupted; None at the beginning.
    """

    paths: Tensor
    screening: Screening
    clock: Clock
    facts: dict[str, Any]
    trace: Trace = field(default_factory=Trace)
    state: State | None = None

    def snapshot(self, state: State) -> StoredBatch:
        """The attempt in this state as plain tensors and JSON facts."""
        self.clock.lap("optimize")
        facts = {
            "screening": asdict(self.screening),
            "stages": self.trace.stages,
            "facts": self.facts,
            "seconds": self.clock.seconds,
        }
        return named("state", state) | named("trace", self.trace.tensors()), facts

    @classmethod
    def from_snapshot(cls, tensors: State, facts: dict[str, Any], device: torch.device) -> "Attempt":
        """The attempt that `snapshot` stored."""
        return cls(
            paths=tensors["state.minimization.record.good"].to(device),
            screening=_screening(facts["screening"]),
            clock=Clock(facts["seconds"]),
            facts=facts["facts"],
            trace=Trace.from_tensors(within(tensors, "trace."), facts["stages"]),
            state=within(tensors, "state."),
        )


@dataclass(frozen=True)
class PathBatch:
    """Finished paths, and how they came about; this is what is kept of a batch.

    Attributes:
        paths: All images, nm, float64.
        stages: Outcome of every stage of the optimization.
        trace: How the action went down.
        screening: How the guesses came about.
        verdict: What validation says.
        facts: Wall time of the parts, and the machine; no part of the result.
    """

    paths: Tensor
    stages: tuple[Outcome, ...]
    trace: Trace
    screening: Screening
    verdict: PathVerdicts
    facts: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether every path converged and is valid, and every top that was judged is a saddle."""
        valid = all(verdict == "valid" for verdict in self.verdict.verdicts)
        return self.stages[-1].all_converged and valid and self.verdict.all_saddles

    @classmethod
    def joined(cls, batches: "Sequence[PathBatch]") -> "PathBatch":
        """Several batches as one; the facts are those of the first."""
        stages = zip(*(batch.stages for batch in batches), strict=True)
        return cls(
            paths=torch.cat([batch.paths for batch in batches]),
            stages=tuple(Outcome.joined(of_stage) for of_stage in stages),
            trace=Trace.joined([batch.trace for batch in batches]),
            screening=Screening.joined([batch.screening for batch in batches]),
            verdict=PathVerdicts.joined([batch.verdict for batch in batches]),
            facts=batches[0].facts,
        )

    def store(self) -> tuple[State, dict[str, Any]]:
        """The batch as plain tensors and JSON facts."""
        tensors = {"paths": self.paths} | named("trace", self.trace.tensors())
        for number, outcome in enumerate(self.stages):
            tensors |= named(f"stage_{number}", outcome.tensors())
        verdict, about = self.verdict.store()
        facts = {
            "screening": asdict(self.screening),
            "stages": self.trace.stages,
            "verdict": about,
            "facts": self.facts,
        }
        return tensors | named("verdict", verdict), facts

    @classmethod
    def from_stored(cls, tensors: State, facts: dict[str, Any]) -> "PathBatch":
        """The batch that `store` gave."""
        count = len(facts["stages"])
        return cls(
            paths=tensors["paths"],
            stages=tuple(Outcome.from_tensors(within(tensors, f"stage_{number}.")) for number in range(count)),
            trace=Trace.from_tensors(within(tensors, "trace."), facts["stages"]),
            screening=_screening(facts["screening"]),
            verdict=PathVerdicts.from_stored(within(tensors, "verdict."), facts["verdict"]),
            facts=facts["facts"],
        )


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _screening(values: dict[str, Any]) -> Screening:
    return Screening(**(values | {"faults": tuple(values["faults"])}))

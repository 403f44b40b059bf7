"""Records how the optimization went, for the lines shown while it runs, the figure and the tables."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tpsctl.optimize.base import StepReport

TERMS = ("kinetic", "drift", "cross", "divergence")


@dataclass
class Trace:
    """How the action went down: one entry per optimizer step, over all stages."""

    started: float = field(default_factory=time.monotonic)
    terms: list[dict[str, Tensor]] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    seconds: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def steps(self) -> int:
        """Number of steps so far, over all stages."""
        return len(self.terms)

    def note(self, report: StepReport) -> None:
        """Add a step."""
        now = time.monotonic() - self.started
        if len(self.seconds) != len(report.active):
            self.seconds = torch.zeros(len(report.active))
        self.seconds[report.active.cpu()] = now
        if not self.stages or self.stages[-1][1] != report.stage:
            self.stages.append((self.steps, report.stage))
        names = ("total", *TERMS)
        self.terms.append({name: getattr(report.terms, name).detach().cpu().clone() for name in names})

    @classmethod
    def joined(cls, traces: "Sequence[Trace]") -> "Trace":
        """Several batches as one, stage by stage; a batch that needed fewer steps keeps its last values."""
        names = [name for _, name in traces[0].stages]
        whole = cls(seconds=torch.cat([trace.seconds for trace in traces]))
        for number, name in enumerate(names):
            parts = [trace.of_stage(number) for trace in traces]
            length = max(map(len, parts))
            whole.stages.append((whole.steps, name))
            for step in range(length):
                entries = [part[min(step, len(part) - 1)] for part in parts]
                whole.terms.append({key: torch.cat([entry[key] for entry in entries]) for key in entries[0]})
        return whole

    def some_steps(self, most: int) -> list[int]:
        """At most about `most` steps at equal distances, and the first and last of every stage."""
        starts = {start for start, _ in self.stages}
        ends = {start - 1 for start in starts if start} | {self.steps - 1}
        every = max(1, -(-self.steps // most))
        return sorted({*range(0, self.steps, every)} | starts | ends)

    def stage_at(self, step: int) -> str:
        """Name of the stage of a step."""
        return [name for start, name in self.stages if start <= step][-1]

    def of_stage(self, number: int) -> list[dict[str, Tensor]]:
        """The terms at every step of one stage."""
        starts = [start for start, _ in self.stages] + [len(self.terms)]
        return self.terms[starts[number] : starts[number + 1]]

    def tensors(self) -> dict[str, Tensor]:
        """What is kept of a trace, as plain tensors."""
        terms = {name: torch.stack([entry[name] for entry in self.terms]) for name in self.terms[0]}
        return terms | {"seconds": self.seconds}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], stages: Sequence[tuple[int, str]]) -> "Trace":
        """The trace that `tensors` gave; its clock goes on where it was."""
        names = [name for name in tensors if name != "seconds"]
        count, seconds = len(tensors["total"]), tensors["seconds"]
        return cls(
            started=time.monotonic() - float(seconds.max()),
            terms=[{name: tensors[name][k] for name in names} for k in range(count)],
            stages=[(int(start), str(name)) for start, name in stages],
            seconds=seconds,
        )


def describe_step(report: StepReport) -> str:
    """One line about a step: the action of the median path with its terms, and how many are still running."""
    total = report.terms.total
    median = int((total - total.nanmedian()).abs().nan_to_num(nan=torch.inf).argmin())
    values = {name: getattr(report.terms, name)[median].item() for name in TERMS}
    shown = " + ".join(f"{name} {value:.4g}" for name, value in values.items() if value != 0)
    slope = report.gradient_max.max().item()
    return f"S {total[median].item():.4g} = {shown}  max|dS/dx| {slope:.3g}/nm  {int(report.active.sum())} running"

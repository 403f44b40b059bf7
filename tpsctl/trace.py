"""How the optimization went: what is shown while it runs, and kept for the figure and the tables."""

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tpsctl.optimize.base import StepReport

TERMS = ("kinetic", "drift", "cross", "divergence")


@dataclass
class Trace:
    """How the action went down: one entry per optimizer step, over all stages."""

    started: float = field(default_factory=time.monotonic)
    steps: list[int] = field(default_factory=list)
    terms: list[dict[str, Tensor]] = field(default_factory=list)
    stages: list[tuple[int, str]] = field(default_factory=list)
    seconds: Tensor = field(default_factory=lambda: torch.empty(0))

    def note(self, report: StepReport) -> None:
        now = time.monotonic() - self.started
        if len(self.seconds) != len(report.active):
            self.seconds = torch.zeros(len(report.active))
        self.seconds[report.active.cpu()] = now
        if not self.stages or self.stages[-1][1] != report.stage:
            self.stages.append((len(self.steps), report.stage))
        self.steps.append(len(self.steps))
        names = ("total", *TERMS)
        self.terms.append({name: getattr(report.terms, name).detach().cpu().clone() for name in names})


def describe_step(report: StepReport) -> str:
    """One line about a step: medians over the paths, and how many are still running."""

    def median(values: Tensor) -> str:
        return f"{values.median().item():.4g}"

    terms = report.terms
    parts = [f"{name} {median(getattr(terms, name))}" for name in TERMS]
    shown = " + ".join(part for part in parts if not part.endswith(" 0"))
    slope = f"max|dS/dx| {report.gradient_max.max().item():.3g}/nm"
    return f"S {median(terms.total)} = {shown}  {slope}  {int(report.active.sum())} running"

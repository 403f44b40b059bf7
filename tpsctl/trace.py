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
    """One line about a step: the action of the median path with its terms, and how many are still running."""
    total = report.terms.total
    median = int((total - total.nanmedian()).abs().nan_to_num(nan=torch.inf).argmin())
    values = {name: getattr(report.terms, name)[median].item() for name in TERMS}
    shown = " + ".join(f"{name} {value:.4g}" for name, value in values.items() if value != 0)
    slope = report.gradient_max.max().item()
    return f"S {total[median].item():.4g} = {shown}  max|dS/dx| {slope:.3g}/nm  {int(report.active.sum())} running"

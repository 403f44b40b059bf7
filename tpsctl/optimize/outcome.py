"""How the optimization of paths ended, as data: status, steps, final action and slope, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import ActionTerms
from tpsctl.optimize.state import State, collect


class Status(StrEnum):
    """How the optimization of one path ended.

    Attributes:
        CONVERGED: Both criteria of `Convergence` are met.
        MAX_STEPS: All steps were taken before that.
        STALLED: No step that the method can try lowers the action.
        NON_FINITE: The action or its gradient was not finite; the last finite path was kept.
        RUNNING: The optimization has not ended.
    """

    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    STALLED = "stalled"
    NON_FINITE = "non_finite"
    RUNNING = "running"


CODES = tuple(Status)
"""All statuses in fixed order; the number of a status is its place here."""


@dataclass(frozen=True)
class Outcome:
    """How the optimization of a batch of paths ended.

    Attributes:
        status: Status of each path.
        steps: Number of steps each path took.
        terms: Final action terms of each path.
        gradient_max: Final max |dS/dx| of each path, 1/nm.
        gradient_tolerance_per_nm: Tolerance for `gradient_max`, 1/nm.
    """

    status: tuple[Status, ...]
    steps: tuple[int, ...]
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    gradient_tolerance_per_nm: float

    @property
    def all_converged(self) -> bool:
        """Whether every path converged."""
        return all(status is Status.CONVERGED for status in self.status)

    @property
    def remedy(self) -> tuple[str, ...]:
        """For each path a message that says what failed and what to do about it; "" for a converged path."""
        limit, slopes = self.gradient_tolerance_per_nm, self.gradient_max.tolist()
        return tuple(_remedy(status, slope, limit) for status, slope in zip(self.status, slopes, strict=True))

    @classmethod
    def joined(cls, parts: "Sequence[Outcome]") -> "Outcome":
        """One outcome from the outcomes of several batches of paths."""
        return cls(
            status=tuple(status for part in parts for status in part.status),
            steps=tuple(steps for part in parts for steps in part.steps),
            terms=ActionTerms(
                *(torch.cat([getattr(part.terms, f.name) for part in parts]) for f in fields(ActionTerms))
            ),
            gradient_max=torch.cat([part.gradient_max for part in parts]),
            gradient_tolerance_per_nm=parts[0].gradient_tolerance_per_nm,
        )

    def tensors(self) -> State:
        """The outcome as plain tensors."""
        code = torch.tensor([CODES.index(status) for status in self.status])
        limit = torch.tensor(self.gradient_tolerance_per_nm, dtype=torch.float64)
        whole = {"code": code, "steps": torch.tensor(self.steps), "gradient_tolerance_per_nm": limit}
        return whole | collect(self.terms, "terms") | collect(self.gradient_max, "gradient_max")

    @classmethod
    def from_tensors(cls, state: State) -> "Outcome":
        """The outcome from which `tensors` made this state."""
        terms = ActionTerms(*(state[f"terms.{field.name}"] for field in fields(ActionTerms)))
        status = tuple(CODES[code] for code in state["code"].tolist())
        limit = state["gradient_tolerance_per_nm"].item()
        return cls(status, tuple(state["steps"].tolist()), terms, state["gradient_max"], limit)


def _remedy(status: Status, slope: float, limit: float) -> str:
    return {
        Status.MAX_STEPS: f"not converged: max_steps reached with max |dS/dx| {slope:.3g} per nm "
        f"(tolerance {limit:g} per nm). Raise optimize.max_steps (that of the last stage, if there are several), "
        "or loosen the tolerances.",
        Status.STALLED: f"stalled: no shorter step lowers the action, max |dS/dx| {slope:.3g} per nm "
        f"(tolerance {limit:g} per nm). Evaluate the score in float64, or start from smaller action.dt_ps.",
        Status.NON_FINITE: "non-finite action or score: the last finite path was kept. Use smaller steps "
        "(learning rate, action.dt_ps), a larger diffusion time, or a better guess.",
    }.get(status, "")

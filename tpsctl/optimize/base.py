"""What every optimizer shares: when to stop, the record of each path, what is reported.

A batch of paths is minimized together, but every path is its own problem: its own step lengths, its own
convergence, its own failure. A path is converged when both hold:

* its action fell by less than `action_tolerance` (relative) over the last `window` steps, or the optimizer has a model
  of the action that can tell, and expects no larger decrease from here to the minimum;
* max |dS/dx| over its free coordinates is below `gradient_tolerance_per_nm`. dS/dx is a force over kT:
  what pulls an image towards a more probable path.

A finished path leaves the batch. A step that yields a non-finite action or gradient is not taken: the path
goes back to the last state known to be good and, where the optimizer cannot try a shorter step, ends there.
Images 0 and -1 are never written, so the ends stay bit-identical.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action, ActionTerms
from tpsctl.errors import PathError
from tpsctl.optimize.state import BetweenSteps, State, collect, put_back


class Status(StrEnum):
    """How the optimization of one path ended."""

    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    STALLED = "stalled"
    NON_FINITE = "non_finite"
    RUNNING = "running"


_CODES = tuple(Status)


@dataclass(frozen=True)
class Convergence:
    """When a path is finished.

    Attributes:
        action_tolerance: Largest relative decrease of the action over the window, or still expected.
        gradient_tolerance_per_nm: Largest |dS/dx| of any free coordinate, 1/nm.
        window: Steps over which the decrease is taken.
    """

    action_tolerance: float = 1e-4
    gradient_tolerance_per_nm: float = 10.0
    window: int = 5


@dataclass(frozen=True)
class StepReport:
    """Where the batch stands after a step, for live progress.

    Attributes:
        step: Steps taken so far in this call.
        terms: Action terms of every path (of a finished path: its last).
        gradient_max: max |dS/dx| of every path, 1/nm.
        active: Paths still being optimized.
        stage: Name of the stage, "" outside of stages.
    """

    step: int
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    active: Bool[Tensor, " path"]
    stage: str = ""


StepCallback = Callable[[StepReport], None]


@dataclass(frozen=True)
class Outcome:
    """What became of every path.

    Attributes:
        status: Per path.
        steps: Steps each path took.
        terms: Final action terms.
        gradient_max: Final max |dS/dx|, 1/nm.
        gradient_tolerance_per_nm: What it had to fall below, 1/nm.
    """

    status: tuple[Status, ...]
    steps: tuple[int, ...]
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    gradient_tolerance_per_nm: float

    @property
    def all_converged(self) -> bool:
        return all(status is Status.CONVERGED for status in self.status)

    @property
    def remedy(self) -> tuple[str, ...]:
        """Per path, what to do about it; "" where there is nothing to do."""
        limit, slopes = self.gradient_tolerance_per_nm, self.gradient_max.tolist()
        return tuple(_remedy(status, slope, limit) for status, slope in zip(self.status, slopes, strict=True))

    @classmethod
    def joined(cls, parts: "Sequence[Outcome]") -> "Outcome":
        """Those of several batches of paths as one."""
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
        code = torch.tensor([_CODES.index(status) for status in self.status])
        limit = torch.tensor(self.gradient_tolerance_per_nm, dtype=torch.float64)
        whole = {"code": code, "steps": torch.tensor(self.steps), "gradient_tolerance_per_nm": limit}
        return whole | collect(self.terms, "terms") | collect(self.gradient_max, "gradient_max")

    @classmethod
    def from_tensors(cls, state: State) -> "Outcome":
        """The outcome that `tensors` gave."""
        terms = ActionTerms(*(state[f"terms.{field.name}"] for field in fields(ActionTerms)))
        status = tuple(_CODES[code] for code in state["code"].tolist())
        limit = state["gradient_tolerance_per_nm"].item()
        return cls(status, tuple(state["steps"].tolist()), terms, state["gradient_max"], limit)


@dataclass
class Record:
    """Per-path state that every optimizer keeps: plain tensors, so that a run can be stored and continued.

    Attributes:
        good: Last paths with finite action and gradient.
        terms: Their action terms.
        gradient_max: Their max |dS/dx|, 1/nm.
        history: Total action at the last window + 1 steps, NaN before there were any.
        code: Status of every path as index into `Status`.
        steps: Steps every path took.
    """

    good: Float[Tensor, "path image bead dim"]
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    history: Float[Tensor, "path window"]
    code: Int[Tensor, " path"]
    steps: Int[Tensor, " path"]


class Monitor:
    """Keeps the record, decides who is finished, calls back after each step."""

    def __init__(self, paths: Tensor, max_steps: int, convergence: Convergence, on_step: StepCallback | None) -> None:
        _require_finite(paths)
        n = len(paths)
        running = torch.full((n,), _CODES.index(Status.RUNNING), device=paths.device)
        self.record = Record(
            good=paths.clone(),
            terms=ActionTerms.empty(n, paths),
            gradient_max=paths.new_full((n,), torch.inf),
            history=paths.new_full((n, convergence.window + 1), torch.nan),
            code=running,
            steps=torch.zeros_like(running),
        )
        self._max_steps, self._convergence = max_steps, convergence
        self._on_step = on_step
        self.step = -1

    @property
    def active(self) -> Int[Tensor, " active"]:
        """Indices of the paths still running."""
        return indices(self.record.code == _CODES.index(Status.RUNNING))

    def begin_step(self) -> Int[Tensor, " active"]:
        """Count a step of every active path and return their indices; the first call is step 0."""
        self.step += 1
        index = self.active
        self.record.steps[index] = self.step
        return index

    def accept(
        self,
        index: Tensor,
        paths: Tensor,
        terms: ActionTerms,
        gradient: Tensor,
        expected: Callable[[], Tensor] | None = None,
    ) -> None:
        """Take note of a new state of the paths `index`; one that is not finite ends its path.

        Args:
            index: Paths that moved.
            paths: Where they are now.
            terms: Action terms there.
            gradient: dS/dx there.
            expected: Gives the decrease of the action still to come, by the optimizer's model; None if it has none.
        """
        record = self.record
        is_finite = terms.total.isfinite() & gradient.flatten(1).isfinite().all(1)
        finite, rest = indices(is_finite), indices(~is_finite)
        self.finish(index[rest], Status.NON_FINITE)
        index, size = index[finite], gradient[finite].flatten(1).abs().amax(1)
        record.good[index] = paths[finite]
        terms = terms.select(finite)
        terms.scatter_into(record.terms, index)
        record.gradient_max[index] = size
        total = terms.total
        record.history[index] = torch.cat((record.history[index, 1:], total.unsqueeze(1)), dim=1)
        flat = size <= self._convergence.gradient_tolerance_per_nm
        if not bool(flat.any()):
            return
        done = self._is_still(index)
        if expected is not None:
            done |= expected()[finite] <= self._convergence.action_tolerance * total.abs()
        self.finish(index[indices(flat & done)], Status.CONVERGED)

    def end_step(self) -> None:
        """Whoever has used up the steps is finished; tell whoever watches."""
        if self.step >= self._max_steps:
            self.finish(self.active, Status.MAX_STEPS)
        if self._on_step is not None:
            running = self.record.code == _CODES.index(Status.RUNNING)
            self._on_step(StepReport(self.step, self.record.terms, self.record.gradient_max, running))

    def finish(self, index: Tensor, status: Status) -> None:
        """These paths end like this."""
        if len(index):
            self.record.code[index] = _CODES.index(status)

    def running(self, index: Tensor) -> Tensor:
        """Those of the paths `index` that have not ended."""
        return index[self.record.code[index] == _CODES.index(Status.RUNNING)]

    def outcome(self) -> Outcome:
        """The final verdict."""
        record = self.record
        status = tuple(_CODES[code] for code in record.code.tolist())
        limit = self._convergence.gradient_tolerance_per_nm
        return Outcome(status, tuple(record.steps.tolist()), record.terms, record.gradient_max, limit)

    def restore(self, state: State) -> None:
        """Go on from a record that was stored after a step."""
        put_back(self.record, state, "record")
        self.step = int(self.record.steps.max())

    def _is_still(self, index: Tensor) -> Tensor:
        history = self.record.history[index]
        change = (history[:, 0] - history[:, -1]).abs()  # NaN until the window is full: not still
        return change <= self._convergence.action_tolerance * history[:, -1].abs()


class Minimization(ABC):
    """One minimization under way: the state of the batch and what is done to it in a step.

    Attributes:
        monitor: Record and convergence of every path.
        state: What else the next step depends on: a dataclass of tensors.
    """

    monitor: Monitor
    state: Any

    @abstractmethod
    def step(self) -> bool:
        """One value and gradient of every active path; False when all have ended."""

    def store(self) -> State:
        """Everything the next step depends on, copied."""
        return collect(self.monitor.record, "record") | collect(self.state, "method")

    def restore(self, state: State) -> None:
        """Go on from what `store` gave."""
        self.monitor.restore(state)
        put_back(self.state, state, "method")


class Optimizer(ABC):
    """Minimizes the action of a batch of paths with fixed ends.

    Args:
        max_steps: Most steps any path takes.
        convergence: When a path is finished.
    """

    method: str

    def __init__(self, *, max_steps: int, convergence: Convergence | None = None) -> None:
        self.max_steps = max_steps
        self.convergence = convergence or Convergence()

    @abstractmethod
    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        """A minimization before its first step."""

    def minimize(
        self,
        action: Action,
        paths: Float[Tensor, "path image bead dim"],
        *,
        on_step: StepCallback | None = None,
        state: State | None = None,
        between_steps: BetweenSteps | None = None,
    ) -> tuple[Tensor, Outcome]:
        """Optimized paths (a new tensor; ends bit-identical to the given ones) and what became of them.

        Args:
            action: What is minimized.
            paths: Where from; with a `state`, any paths of the same shape and ends.
            on_step: Told about every step.
            state: What `between_steps` was given in an earlier call: the minimization goes on from there.
            between_steps: May take the state after every step, and end the minimization by raising.
        """
        under_way = self.begin(action, paths, Monitor(paths, self.max_steps, self.convergence, on_step))
        if state is not None:
            under_way.restore(state)
        while under_way.step():
            if between_steps is not None:
                between_steps(under_way.store)
        return under_way.monitor.record.good, under_way.monitor.outcome()


def indices(mask: Bool[Tensor, " n"]) -> Int[Tensor, " chosen"]:
    """Where it is true: looked for once, however many tensors are indexed."""
    return mask.nonzero().squeeze(1)


def _remedy(status: Status, slope: float, limit: float) -> str:
    return {
        Status.MAX_STEPS: f"not converged: max_steps reached with max |dS/dx| {slope:.3g} per nm "
        f"(tolerance {limit:g} per nm). Raise optimize.max_steps, or loosen the tolerances.",
        Status.STALLED: f"stalled: no shorter step lowers the action, max |dS/dx| {slope:.3g} per nm "
        f"(tolerance {limit:g} per nm). Evaluate the score in float64, or start from smaller action.dt_ps.",
        Status.NON_FINITE: "non-finite action or score: the last finite path was kept. Use smaller steps "
        "(learning rate, action.dt_ps), a larger diffusion time, or a better guess.",
    }.get(status, "")


def _require_finite(paths: Tensor) -> None:
    bad = (~paths.isfinite()).flatten(1).any(1).nonzero().squeeze(1).tolist()
    if bad:
        raise PathError(f"paths: path {bad[0]} has a non-finite coordinate before optimization. Redraw the guess.")

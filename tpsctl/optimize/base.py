"""What all optimizers share: the criterion of convergence, the record of each path, and reports of progress.

A batch of paths is minimized together, but every path has step lengths of its own, and converges or fails on its own.
A path is converged when both of these hold:

* its action fell by less than `action_tolerance` (relative) over the last `window` steps, or the optimizer has a model
  of the action that expects no larger decrease from here to the minimum;
* max |dS/dx| over its free coordinates is below `gradient_tolerance_per_nm`. -dS/dx is the force, over kT, that pulls
  an image towards a more probable path.

All numbers that decide about a path are kept on the host (`optimize.members`); only the paths are on their device.

A finished path leaves the batch. A step that yields a non-finite action or gradient is not taken: the path
goes back to the last state known to be good and, where the optimizer cannot try a shorter step, ends there.
Images 0 and -1 are never written, so the ends stay bit-identical.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action, ActionTerms
from tpsctl.action.memory import explained_out_of_memory
from tpsctl.errors import PathError
from tpsctl.optimize.members import Members, read_back, some
from tpsctl.optimize.outcome import CODES, Outcome, Status
from tpsctl.optimize.state import BetweenSteps, State, collect, put_back, within

_OUT_OF_MEMORY = "Use fewer paths at once (path.batch_paths), fewer images (path.images), or another device (--device)."


@dataclass(frozen=True)
class Convergence:
    """When a path counts as converged.

    Attributes:
        action_tolerance: Largest decrease, relative to the action, over the window or still expected by a model.
        gradient_tolerance_per_nm: Largest |dS/dx| of any free coordinate, 1/nm.
        window: Number of steps over which the decrease is taken.
    """

    action_tolerance: float = 1e-4
    gradient_tolerance_per_nm: float = 10.0
    window: int = 5


@dataclass(frozen=True)
class StepReport:
    """Where the batch stands after a step, for live progress; all on the host.

    Attributes:
        step: Steps taken so far in this call.
        terms: Action terms of every path; a finished path keeps its last ones.
        gradient_max: max |dS/dx| of every path, 1/nm.
        active: Paths still being optimized.
        stage: Name of the stage; "" where there are no stages.
    """

    step: int
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    active: Bool[Tensor, " path"]
    stage: str = ""


StepCallback = Callable[[StepReport], None]
"""Called with a report after every step."""


@dataclass
class Record:
    """State of each path that every optimizer keeps, as plain tensors, so that a run can be stored and continued.

    Attributes:
        good: Last paths with finite action and gradient, nm; on the device of the paths, everything else on the host.
        terms: Action terms of the paths in `good`.
        gradient_max: max |dS/dx| of the paths in `good`, 1/nm.
        history: Total action at the last window + 1 steps; NaN for steps that were not taken.
        code: Status of every path as index into `CODES`.
        steps: Number of steps that every path took.
    """

    good: Float[Tensor, "path image bead dim"]
    terms: ActionTerms
    gradient_max: Float[Tensor, " path"]
    history: Float[Tensor, "path window"]
    code: Int[Tensor, " path"]
    steps: Int[Tensor, " path"]


@dataclass(frozen=True)
class Reading:
    """Numbers that one evaluation gives for some paths, on the host.

    Attributes:
        terms: Action terms.
        gradient_max: max |dS/dx|, 1/nm; not finite if any component is not.
        more: Further numbers of every path, as given to `of`.
    """

    terms: ActionTerms
    gradient_max: Float[Tensor, " member"]
    more: tuple[Float[Tensor, " member"], ...] = ()

    @classmethod
    def of(cls, terms: ActionTerms, gradient: Tensor, *more: Float[Tensor, " member"]) -> "Reading":
        """Bring an evaluation, and further numbers of every path, to the host in one copy."""
        names = [field.name for field in fields(ActionTerms)]
        size = gradient.flatten(1).abs().amax(1)
        found = read_back(*(getattr(terms, name) for name in names), size, *more)
        return cls(ActionTerms(*found[: len(names)]), found[len(names)], found[len(names) + 1 :])

    def where(self, mask: Bool[Tensor, " member"]) -> "Reading":
        """The reading of those paths for which the mask is true."""
        return Reading(self.terms.select(mask), self.gradient_max[mask], tuple(part[mask] for part in self.more))


class Monitor:
    """Keeps the record of a batch, decides which paths are finished, and reports every step.

    Args:
        paths: The batch before the first step, nm.
        max_steps: Most steps any path takes.
        convergence: When a path counts as converged.
        on_step: Called with a report after every step; None for no reports.

    Attributes:
        record: State of each path.
        step: Number of the present step; -1 before the first.

    Raises:
        PathError: A path has a non-finite coordinate.
    """

    def __init__(self, paths: Tensor, max_steps: int, convergence: Convergence, on_step: StepCallback | None) -> None:
        _require_finite(paths)
        n, on_host = len(paths), torch.empty(0, dtype=paths.dtype)
        running = torch.full((n,), CODES.index(Status.RUNNING))
        self.record = Record(
            good=paths.clone(),
            terms=ActionTerms.empty(n, on_host),
            gradient_max=on_host.new_full((n,), torch.inf),
            history=on_host.new_full((n, convergence.window + 1), torch.nan),
            code=running,
            steps=torch.zeros_like(running),
        )
        self._max_steps, self._convergence = max_steps, convergence
        self._on_step = on_step
        self.step = -1

    @property
    def active(self) -> Members:
        """The paths still running."""
        running = (self.record.code == CODES.index(Status.RUNNING)).nonzero().squeeze(1)
        return Members.of(running, self.record.good.device)

    def begin_step(self) -> Members:
        """Count a step of every active path and return these paths; the first call is step 0."""
        self.step += 1
        active = self.active
        self.record.steps[active.host] = self.step
        return active

    def accept(
        self, members: Members, paths: Tensor, reading: Reading, expected: Callable[[], Tensor] | None = None
    ) -> None:
        """Record a new state of some paths; a state that is not finite ends its path.

        Args:
            members: Paths that moved.
            paths: The new states of these paths.
            reading: Numbers from the evaluation of these states.
            expected: Gives, on the host, the decrease of the action that the optimizer's model still expects; None
                if the optimizer has no such model.
        """
        record = self.record
        is_finite = reading.terms.total.isfinite() & reading.gradient_max.isfinite()
        self.finish(members.host[~is_finite], Status.NON_FINITE)
        members, paths, reading = members.where(is_finite), some(paths, is_finite), reading.where(is_finite)
        record.good[members.there] = paths
        index, total, size = members.host, reading.terms.total, reading.gradient_max
        reading.terms.scatter_into(record.terms, index)
        record.gradient_max[index] = size
        record.history[index] = torch.cat((record.history[index, 1:], total.unsqueeze(1)), dim=1)
        flat = size <= self._convergence.gradient_tolerance_per_nm
        if not bool(flat.any()):
            return
        done = self._is_still(index)
        if expected is not None:
            done |= expected()[is_finite] <= self._convergence.action_tolerance * total.abs()
        self.finish(index[flat & done], Status.CONVERGED)

    def end_step(self) -> None:
        """End the paths that have used up their steps, and report the step."""
        running = self.record.code == CODES.index(Status.RUNNING)
        if self.step >= self._max_steps:
            self.record.code[running] = CODES.index(Status.MAX_STEPS)
            running = torch.zeros_like(running)
        if self._on_step is not None:
            self._on_step(StepReport(self.step, self.record.terms, self.record.gradient_max, running))

    def finish(self, numbers: Int[Tensor, " ended"], status: Status) -> None:
        """End the paths of these numbers (on the host) with a status."""
        self.record.code[numbers] = CODES.index(status)

    def running(self, members: Members) -> Members:
        """The given paths without those that have ended."""
        return members.where(self.record.code[members.host] == CODES.index(Status.RUNNING))

    def outcome(self) -> Outcome:
        """The outcome of all paths, from the record as it is now."""
        record = self.record
        status = tuple(CODES[code] for code in record.code.tolist())
        limit = self._convergence.gradient_tolerance_per_nm
        return Outcome(status, tuple(record.steps.tolist()), record.terms, record.gradient_max, limit)

    def restore(self, state: State) -> None:
        """Take over a record that was stored after a step."""
        put_back(self.record, state, "record")
        self.step = int(self.record.steps.max())

    def _is_still(self, index: Tensor) -> Tensor:
        history = self.record.history[index]
        change = (history[:, 0] - history[:, -1]).abs()  # NaN, hence not still, until the window is full
        return change <= self._convergence.action_tolerance * history[:, -1].abs()


class Minimization(ABC):
    """One minimization under way: the state of the batch, and the step that changes it.

    Attributes:
        action: The action that is minimized.
        monitor: Record and convergence of every path.
        state: A dataclass of tensors: all that the next step depends on beside the record.
    """

    action: Action
    monitor: Monitor
    state: Any

    @abstractmethod
    def step(self) -> bool:
        """Evaluate value and gradient of every active path once, and move it; False when all paths have ended."""

    def store(self) -> State:
        """Copies of all tensors that the next step depends on."""
        plan = self.action.chunks.store(self.monitor.record.good.device)
        chunks = {f"chunks.{name}": value for name, value in plan.items()}
        return collect(self.monitor.record, "record") | collect(self.state, "method") | chunks

    def restore(self, state: State) -> None:
        """Take over a state that `store` returned.

        Raises:
            PathError: The state belongs to a batch of another shape or to another method.
        """
        self.monitor.restore(state)
        put_back(self.state, state, "method")
        self.action.chunks.restore(within(state, "chunks."), self.monitor.record.good.device)


class Optimizer(ABC):
    """Minimizes the action of a batch of paths with fixed ends.

    Args:
        max_steps: Most steps any path takes.
        convergence: When a path counts as converged; None for the defaults.

    Attributes:
        method: Name of the method in a recipe.
    """

    method: str

    def __init__(self, *, max_steps: int, convergence: Convergence | None = None) -> None:
        self.max_steps = max_steps
        self.convergence = convergence or Convergence()

    @abstractmethod
    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        """Set up a minimization of a batch, nm, before its first step."""

    def minimize(
        self,
        action: Action,
        paths: Float[Tensor, "path image bead dim"],
        *,
        on_step: StepCallback | None = None,
        state: State | None = None,
        between_steps: BetweenSteps | None = None,
    ) -> tuple[Tensor, Outcome]:
        """Minimize the action of a batch of paths whose ends stay fixed.

        Args:
            action: The action that is minimized.
            paths: Starting paths, nm; with a `state`, any paths of the same shape and ends.
            on_step: Called with a report after every step.
            state: State that `between_steps` took in an earlier call; the minimization continues from it.
            between_steps: Called after every step; it may take the state, and end the minimization by raising.

        Returns:
            Optimized paths, nm (a new tensor whose ends are bit-identical to the given ones), and their outcome.

        Raises:
            PathError: A path has a non-finite coordinate, or the state belongs to another batch or method.
            TpsctlError: Memory ran out.
        """
        with explained_out_of_memory(f"optimizing {len(paths)} paths of {paths.shape[1]} images", _OUT_OF_MEMORY):
            under_way = self.begin(action, paths, Monitor(paths, self.max_steps, self.convergence, on_step))
            if state is not None:
                under_way.restore(state)
            while under_way.step():
                if between_steps is not None:
                    between_steps(under_way.store)
        return under_way.monitor.record.good, under_way.monitor.outcome()


def _require_finite(paths: Tensor) -> None:
    bad = (~paths.isfinite()).flatten(1).any(1).cpu().nonzero().squeeze(1).tolist()
    if bad:
        raise PathError(f"paths: path {bad[0]} has a non-finite coordinate before optimization. Redraw the guess.")

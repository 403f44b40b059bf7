"""Levenberg-Marquardt for actions that are sums of squares: the optimizer that finds saddles.

Molecular scores are stiff (bonds 10^4 times stiffer than torsions), so a gradient step long enough for the torsions
breaks the bonds, and one short enough for the bonds leaves the path where it started. The Gauss-Newton matrix knows
both. Its price is the score's Jacobian, as dear as tens of gradients; so a Jacobian is made to last:

* a Gauss-Newton step is a tangent, and turning bonds leave tangents: with a new Jacobian the step is bent by
  correcting it for what the residuals at its end differ from their linear prediction (one more score, no Jacobian);
* where the quadratic model has just proved good, the factored matrix serves further steps as the initial Hessian of
  limited-memory BFGS, which learns the second-order part that Gauss-Newton leaves out;
* a failed step with an old Jacobian takes a new one; only with a new one is the damping raised.

Every path has its own damping, age of Jacobian and memory; a step is one value and gradient of each active path.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapter 10; Transtrum and Sethna, arXiv:1201.5885
(bending, there in the limit of small steps).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action, ActionTerms, LeastSquaresAction
from tpsctl.errors import TpsctlError
from tpsctl.optimize.base import Convergence, Monitor, Optimizer, Outcome, Status, StepCallback
from tpsctl.optimize.curvature_memory import CurvatureMemory
from tpsctl.optimize.gauss_newton import BlockSystem, GaussNewtonSystem, ProductSystem
from tpsctl.optimize.scaling import Scaling

_LEAST_DAMPING, _MOST_DAMPING = 1e-9, 1e9
_SUFFICIENT, _POOR, _GOOD = 1e-4, 0.25, 0.75


@dataclass
class LevenbergMarquardtState:
    """Where every path stands; gradients in scaled coordinates.

    Attributes:
        base: Last accepted paths, nm.
        value: Action there.
        gradient: d(2 dt S)/dz there.
        trial: Where the action is evaluated next.
        predicted: Decrease of the action the model expects of the trial.
        damping: lambda, in units of the path Laplacian.
        growth: Factor of the next increase of lambda.
        age: Accepted steps since the Jacobian was taken; -1 before the first.
        jacobians: Jacobians taken.
    """

    base: Float[Tensor, "path image bead dim"]
    value: Float[Tensor, " path"]
    gradient: Float[Tensor, "path interior n"]
    trial: Float[Tensor, "path image bead dim"]
    predicted: Float[Tensor, " path"]
    damping: Float[Tensor, " path"]
    growth: Float[Tensor, " path"]
    age: Int[Tensor, " path"]
    jacobians: Int[Tensor, " path"]


class LevenbergMarquardt(Optimizer):
    """Damped Gauss-Newton with reused Jacobians.

    Args:
        max_steps: Most values and gradients per path.
        convergence: When a path is finished.
        damping: First lambda, in units of the path Laplacian (whose largest eigenvalue is 4).
        reuse: Steps one Jacobian may serve.
        memory: Pairs of limited-memory BFGS; 0 turns it off.
        solver: "block" (dense blocks), "products" (matrix-free), "auto" by the memory the blocks would take.
        memory_gb: What "auto" lets the blocks take, GB.
    """

    method = "levenberg_marquardt"

    def __init__(
        self,
        *,
        max_steps: int,
        convergence: Convergence | None = None,
        damping: float = 1e-3,
        reuse: int = 8,
        memory: int = 8,
        bends: int = 1,
        bend: float = 0.75,
        solver: Literal["auto", "block", "products"] = "auto",
        memory_gb: float = 2.0,
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self._damping, self._reuse, self._memory = damping, reuse, memory
        self._bends, self._bend = bends, bend
        self._solver, self._memory_gb = solver, memory_gb

    def minimize(self, action: Action, paths: Tensor, *, on_step: StepCallback | None = None) -> tuple[Tensor, Outcome]:
        if not isinstance(action, LeastSquaresAction):
            raise TpsctlError(
                f'optimize.method "levenberg_marquardt" needs a sum of squares; "{action.functional}" is none. '
                'Use functional truncated or euler_maruyama, or method "lbfgs".'
            )
        run = _Run(self, action, paths, Monitor(paths, self.convergence, on_step))
        for _ in range(self.max_steps + 1):
            if not run.step():
                break
        self.last = run.state
        return run.monitor.record.good, run.monitor.outcome()

    def system(self, action: LeastSquaresAction, paths: Tensor) -> GaussNewtonSystem:
        """The linear solver for this batch."""
        n = paths[0, 0].numel()
        block_gb = 3 * paths.shape[0] * paths.shape[1] * n**2 * paths.element_size() / 1e9
        if self._solver == "block" or (self._solver == "auto" and block_gb <= self._memory_gb):
            return BlockSystem(action, paths)
        return ProductSystem(action, paths)


class _Run:
    """One minimization: the state of the batch and what is done to it in a step."""

    def __init__(
        self, options: LevenbergMarquardt, action: LeastSquaresAction, paths: Tensor, monitor: Monitor
    ) -> None:
        self.options, self.action, self.monitor = options, action, monitor
        self.scaling = Scaling(action.dynamics, paths)
        self.system = options.system(action, paths)
        n, z = len(paths), paths[:, 1:-1].flatten(2)
        self.memory = CurvatureMemory(z, options._memory)
        count = torch.zeros(n, dtype=torch.long, device=paths.device)
        self.state = LevenbergMarquardtState(
            base=paths.clone(),
            value=paths.new_full((n,), torch.inf),
            gradient=torch.zeros_like(z),
            trial=paths.clone(),
            predicted=paths.new_zeros(n),
            damping=paths.new_full((n,), options._damping),
            growth=paths.new_full((n,), 4.0),
            age=count - 1,
            jacobians=count.clone(),
        )

    def step(self) -> bool:
        """One value and gradient of every active path, and their next trials; False when all have ended."""
        index = self.monitor.begin_step()
        if len(index) == 0:
            return False
        trial = self.state.trial[index]
        terms, gradient = self.action.value_and_gradient(trial)
        z_gradient = self.scaling.gradient(gradient)
        better = self._is_better(index, terms.total)
        self.monitor.accept(index[better], trial[better], terms.select(better), gradient[better])
        self.monitor.report()
        stale = self._accept(index[better], trial[better], terms.select(better), z_gradient[better])
        failed = index[~better]
        stale = torch.cat([stale, failed[self.state.age[failed] > 0]])
        self._raise_damping(failed[self.state.age[failed] <= 0])
        self._aim(self._running(index), self._running(stale), self._running(failed))
        return True

    def _running(self, index: Tensor) -> Tensor:
        return index[torch.isin(index, self.monitor.active)]

    def _is_better(self, index: Tensor, value: Tensor) -> Bool[Tensor, " active"]:
        """Sufficient decrease; the first evaluation is always taken, so that the monitor sees it."""
        first = self.state.age[index] < 0
        enough = value <= self.state.value[index] - _SUFFICIENT * self.state.predicted[index]
        return first | (enough & value.isfinite())

    def _accept(self, index: Tensor, trial: Tensor, terms: ActionTerms, gradient: Tensor) -> Tensor:
        """Move the paths `index` to their trials; returns those that want a new Jacobian."""
        s = self.state
        first = s.age[index] < 0
        ratio = torch.where(first, 1.0, (s.value[index] - terms.total) / s.predicted[index])
        straight = (ratio > _GOOD) & ~first
        self.memory.forget(index[~straight])
        change = (trial - s.base[index])[:, 1:-1].flatten(2) / self.scaling.root
        self.memory.push(index[straight], change[straight], (gradient - s.gradient[index])[straight])
        lower = torch.where(ratio > _GOOD, 0.1, torch.where(ratio < _POOR, 2.0, 0.5))
        s.damping[index] = torch.where(first, s.damping[index], s.damping[index] * lower).clamp_min(_LEAST_DAMPING)
        s.growth[index] = 4.0
        s.base[index], s.value[index], s.gradient[index] = trial, terms.total, gradient
        s.age[index] += 1
        return index[(s.age[index] >= self.options._reuse) | ~straight]

    def _raise_damping(self, index: Tensor) -> None:
        s = self.state
        s.damping[index] = s.damping[index] * s.growth[index]
        s.growth[index] *= 2
        self.monitor.finish(index[s.damping[index] > _MOST_DAMPING], Status.STALLED)

    def _aim(self, index: Tensor, stale: Tensor, failed: Tensor) -> None:
        """New trials for the paths `index`, after a new Jacobian for those that are `stale`."""
        s = self.state
        if len(stale):
            self.system.refresh(stale, s.base[stale])
            s.age[stale] = 0
            s.jacobians[stale] += 1
        redo = index[torch.isin(index, torch.cat([stale, failed]))]
        if len(redo):
            self.system.damp(redo, s.damping[redo])
        if len(index) == 0:
            return
        gradient, damping = s.gradient[index], s.damping[index]
        step = -self.memory.apply(index, gradient, lambda b: self.system.solve(index, b), damping)
        slope = (step * gradient).sum((1, 2))
        s.predicted[index] = (damping * step.square().sum((1, 2)) - slope) / (2 * self.scaling.factor)
        fresh = s.age[index] == 0
        step[fresh] += self._bending(index[fresh], step[fresh])
        s.trial[index] = self.scaling.moved(s.base[index], step)

    def _bending(self, index: Tensor, step: Tensor) -> Tensor:
        """Half the geodesic acceleration along a step."""
        if len(index) == 0:
            return step
        base, bend = self.state.base[index], torch.zeros_like(step)
        for _ in range(self.options._bends):
            ahead = self.scaling.moved(base, step + bend)
            new = -self.system.solve(index, self.system.curvature(index, ahead, step + bend))
            small = new.flatten(1).norm(dim=1) <= self.options._bend * step.flatten(1).norm(dim=1)
            bend = torch.where(small.view(-1, 1, 1), new, bend)
        return bend

"""Levenberg-Marquardt for actions that are sums of squares: the optimizer that finds saddles.

Molecular scores are stiff (bonds 10^4 times stiffer than torsions), so a gradient step long enough for the torsions
breaks the bonds, and one short enough for the bonds leaves the path where it started. The Gauss-Newton matrix knows
both. Its price is the score's Jacobian, as dear as tens of gradients; so each one is made to count:

* A Gauss-Newton step is a tangent, and turning bonds leave tangents: a methyl group turned by 0.1 rad stretches its
  C-H bonds by 0.0005 nm, enough to spoil the action and, judged by that, the step. So the step is bent: stiff
  residuals at its end are brought back to their linear prediction, at the cost of one more score (a second-order
  correction; damping instead would stop the soft motion too, ten times more Jacobians were measured).
* Gauss-Newton leaves out the second-order part of the Hessian. Where that makes its steps too short, the next are
  stretched to the minimum of the parabola through the last two values and the slope.
* A failed trial is halved; only when this does not help the damping is raised, for each path on its own.

One step is one value and gradient of each active path.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapters 10.3 and 18.3.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action, LeastSquaresAction
from tpsctl.errors import TpsctlError
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Status, indices
from tpsctl.optimize.gauss_newton import BlockSystem, GaussNewtonSystem, ProductSystem
from tpsctl.optimize.newton import NewtonSystem
from tpsctl.optimize.scaling import Scaling
from tpsctl.optimize.state import State, within

_LEAST_DAMPING, _WORKING_DAMPING, _MOST_DAMPING = 1e-7, 1e-3, 1e9
_SUFFICIENT, _POOR, _GOOD = 1e-4, 0.25, 0.5
_MOST_STRETCH = 4.0
_HALVINGS = 2


@dataclass
class LevenbergMarquardtState:
    """Where every path stands; steps and gradients in scaled coordinates.

    Attributes:
        base: Last accepted paths, nm.
        value: Action there; inf before the first evaluation.
        gradient: d(2 dt S)/dz there.
        direction: Damped Gauss-Newton step from there.
        length: How much of it is tried.
        stretch: Length at which the next direction is tried first.
        damping: lambda, in units of the path Laplacian.
        failures: Trials along this direction that failed.
        trial: Paths of the next evaluation, nm.
    """

    base: Float[Tensor, "path image bead dim"]
    value: Float[Tensor, " path"]
    gradient: Float[Tensor, "path interior n"]
    direction: Float[Tensor, "path interior n"]
    length: Float[Tensor, " path"]
    stretch: Float[Tensor, " path"]
    damping: Float[Tensor, " path"]
    failures: Int[Tensor, " path"]
    trial: Float[Tensor, "path image bead dim"]


class LevenbergMarquardt(Optimizer):
    """Damped Gauss-Newton with bent and stretched steps.

    Args:
        max_steps: Most values and gradients per path.
        convergence: When a path is finished.
        damping: First lambda, in units of the path Laplacian (largest eigenvalue 4); None for the solver's own.
        solver: "block" (dense blocks), "products" (matrix-free), "newton" (second derivatives too, for images of a
            few coordinates), "auto" by the size of the images and the memory the blocks would take.
        memory_gb: What "auto" lets the blocks take, GB.
    """

    method = "levenberg_marquardt"

    def __init__(
        self,
        *,
        max_steps: int,
        convergence: Convergence | None = None,
        damping: float | None = None,
        solver: Literal["auto", "block", "products", "newton"] = "auto",
        memory_gb: float = 2.0,
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self.damping, self.solver, self.memory_gb = damping, solver, memory_gb

    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        if not isinstance(action, LeastSquaresAction):
            raise TpsctlError(
                f'optimize.method "levenberg_marquardt" needs a sum of squares; "{action.functional}" is none. '
                'Use functional truncated or euler_maruyama, or method "lbfgs".'
            )
        return _Run(self, action, paths, monitor)

    def system(self, action: LeastSquaresAction, paths: Tensor) -> GaussNewtonSystem:
        """The linear solver for this batch."""
        if self.solver == "newton" or (self.solver == "auto" and NewtonSystem.fits(paths)):
            return NewtonSystem(action, paths)
        n = paths[0, 0].numel()
        block_gb = BlockSystem.MATRICES * paths.shape[0] * paths.shape[1] * n**2 * paths.element_size() / 1e9
        if self.solver == "block" or (self.solver == "auto" and block_gb <= self.memory_gb):
            return BlockSystem(action, paths)
        return ProductSystem(action, paths)


class _Run(Minimization):
    """One minimization by Levenberg-Marquardt."""

    def __init__(
        self, options: LevenbergMarquardt, action: LeastSquaresAction, paths: Tensor, monitor: Monitor
    ) -> None:
        self.action, self.monitor = action, monitor
        self.scaling = Scaling(action.dynamics, paths)
        self.system = options.system(action, paths)
        n, z = len(paths), paths[:, 1:-1].flatten(2)
        self.state = LevenbergMarquardtState(
            base=paths.clone(),
            value=paths.new_full((n,), torch.inf),
            gradient=torch.zeros_like(z),
            direction=torch.zeros_like(z),
            length=paths.new_ones(n),
            stretch=paths.new_ones(n),
            damping=paths.new_full((n,), options.damping or self.system.first_damping),
            failures=torch.zeros(n, dtype=torch.long, device=paths.device),
            trial=paths.clone(),
        )

    def store(self) -> State:
        return super().store() | {f"system.{name}": value for name, value in self.system.store().items()}

    def restore(self, state: State) -> None:
        super().restore(state)
        self.system.restore(within(state, "system."))

    def step(self) -> bool:
        index, s = self.monitor.begin_step(), self.state
        if len(index) == 0:
            return False
        trial = s.trial[index]
        terms, gradient = self.action.value_and_gradient(trial)
        value, slope = terms.total, self._slope(index)
        is_better = self._is_better(index, value, slope)
        better, worse = indices(is_better), indices(~is_better)
        good, bad, trial, gradient = index[better], index[worse], trial[better], gradient[better]
        shortfall = self._adapt(good, value[better], slope[better])
        s.base[good], s.value[good], s.gradient[good] = trial, value[better], self.scaling.gradient(gradient)
        self.monitor.accept(
            good, trial, terms.select(better), gradient, lambda: shortfall * self._newton_decrease(good)
        )
        self.monitor.end_step()
        good, bad = self.monitor.running(good), self.monitor.running(bad)
        hopeless = s.failures[bad] >= _HALVINGS
        self._halve(bad[~hopeless])
        self._damp_more(bad[hopeless])
        self._refresh(good)
        self._aim(self.monitor.running(torch.cat([good, bad[hopeless]])))
        self._try(self.monitor.running(index))
        return True

    def _slope(self, index: Tensor) -> Float[Tensor, " active"]:
        """-dS / d length along the direction, > 0."""
        s = self.state
        return -(s.gradient[index] * s.direction[index]).sum((1, 2)) / self.scaling.factor

    def _is_better(self, index: Tensor, value: Tensor, slope: Tensor) -> Bool[Tensor, " active"]:
        """Sufficient decrease; the first evaluation is always taken, so that the monitor sees it."""
        s, before = self.state, self.state.value[index]
        enough = value <= before - _SUFFICIENT * s.length[index] * slope
        return before.isinf() | (enough & value.isfinite())

    def _adapt(self, index: Tensor, value: Tensor, slope: Tensor) -> Float[Tensor, " active"]:
        """Damping and stretch from the new values of the paths `index`, before they move there.

        Returns:
            How many times too short the Gauss-Newton step was, by the parabola; inf at the first evaluation.
        """
        s, before = self.state, self.state.value[index]
        first, decrease, length, damping = before.isinf(), before - value, s.length[index], s.damping[index]
        extra = damping * s.direction[index].square().sum((1, 2)) / self.scaling.factor
        ratio = decrease / (length * slope - length.square() * (slope - extra) / 2)  # expected by the undamped model
        factor = torch.where((ratio > _GOOD) & (length >= 1), 0.1, torch.where(ratio < _POOR, 4.0, 1.0))
        s.damping[index] = torch.where(first, damping, damping * factor).clamp_min(_LEAST_DAMPING)
        curvature = 2 * (length * slope - decrease) / length.square()
        best = torch.where(curvature > 0, slope / curvature, torch.inf).clamp_min(1.0)
        s.stretch[index] = torch.where(first, 1.0, best.minimum(_MOST_STRETCH * length.clamp_min(1.0)))
        s.failures[index] = 0
        return torch.where(first, torch.inf, best)

    def _newton_decrease(self, index: Tensor) -> Float[Tensor, " active"]:
        """Decrease that the last matrix expects of a full step from here; 1 before there is a matrix."""
        if self.system.empty:
            return torch.ones_like(self.state.value[index])
        gradient = self.state.gradient[index]
        return (gradient * self.system.solve(index, gradient)).sum((1, 2)) / (2 * self.scaling.factor)

    def _halve(self, index: Tensor) -> None:
        if len(index):
            self.state.length[index] *= 0.5
            self.state.failures[index] += 1

    def _damp_more(self, index: Tensor) -> None:
        if len(index) == 0:
            return
        s = self.state
        s.damping[index] = (10 * s.damping[index]).clamp_min(_WORKING_DAMPING)
        s.stretch[index], s.failures[index] = 1.0, 0
        self.system.damp(index, s.damping[index])
        self.monitor.finish(index[s.damping[index] > _MOST_DAMPING], Status.STALLED)

    def _refresh(self, index: Tensor) -> None:
        """New Jacobians where the paths `index` are now."""
        if len(index):
            self.system.refresh(index, self.state.base[index])
            self.system.damp(index, self.state.damping[index])

    def _aim(self, index: Tensor) -> None:
        """New directions for the paths `index`."""
        if len(index):
            s = self.state
            s.direction[index] = -self.system.solve(index, s.gradient[index])
            s.length[index] = s.stretch[index]

    def _try(self, index: Tensor) -> None:
        """Put trials where directions and lengths lead, bent to follow stiff residuals."""
        if len(index):
            s = self.state
            step = s.length[index].view(-1, 1, 1) * s.direction[index]
            ahead = self.scaling.moved(s.base[index], step)
            s.trial[index] = self.scaling.moved(ahead, self.system.bend(index, ahead, step))

"""Levenberg-Marquardt for actions that are sums of squares: the optimizer that finds saddles.

Molecular scores are stiff (bonds 10^4 times stiffer than torsions), so a gradient step long enough for the torsions
breaks the bonds, and one short enough for the bonds leaves the path where it started. The Gauss-Newton matrix contains
both stiffnesses. It needs the score's Jacobian, which costs as much as tens of gradients, so each Jacobian is used as
far as possible:

* A Gauss-Newton step is straight, whereas atoms that turn about a bond move on circles: a methyl group turned by 0.1
  rad along a tangent stretches its C-H bonds by 0.0005 nm, which raises the action so much that the step would be
  rejected. The step is therefore bent: stiff residuals at its end are returned to their linear prediction (a
  second-order correction), which costs one more score. Damping instead would stop the soft motion as well; it needed
  ten times more Jacobians.
* Gauss-Newton leaves out the second-order part of the Hessian. Where that makes its steps too short, the following
  steps are stretched to the minimum of the parabola through the last two values and the slope.
* A failed trial is halved. Only when this does not help is the damping raised, for each path on its own.

One step takes one value and gradient of each active path. The numbers that decide are read from the device once per
step, and a second time where the gradient is so small that the model is asked for the decrease still to come.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapters 10.3 and 18.3.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action, LeastSquaresAction
from tpsctl.errors import TpsctlError
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Reading
from tpsctl.optimize.gauss_newton import BlockSystem, GaussNewtonSystem, ProductSystem
from tpsctl.optimize.members import Members, read_back, sent, some
from tpsctl.optimize.newton import NewtonSystem
from tpsctl.optimize.outcome import Status
from tpsctl.optimize.scaling import Scaling
from tpsctl.optimize.state import State, within

_LEAST_DAMPING, _WORKING_DAMPING, _MOST_DAMPING = 1e-7, 1e-3, 1e9
_SUFFICIENT, _POOR, _GOOD = 1e-4, 0.25, 0.5
_MOST_STRETCH = 4.0
_HALVINGS = 2


@dataclass
class LevenbergMarquardtState:
    """Last accepted state of every path and its next trial.

    Steps and gradients are in scaled coordinates z = x / sqrt(D). Single numbers of a path are on the host.

    Attributes:
        base: Last accepted paths, nm.
        value: Action of `base`; inf before the first evaluation.
        gradient: d(2 dt S)/dz at `base`.
        direction: Damped Gauss-Newton step from `base`.
        length: Fraction of this step that is tried (more than 1 if stretched).
        stretch: Fraction of the next step that is tried first.
        damping: lambda, in units of the path Laplacian.
        failures: Number of trials along this direction that failed.
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
    """Damped Gauss-Newton with bent and stretched steps, for a `LeastSquaresAction`.

    Args:
        max_steps: Most values and gradients per path.
        convergence: When a path counts as converged; None for the defaults.
        damping: First lambda, in units of the path Laplacian (largest eigenvalue 4); None for the solver's default.
        solver: "block" (dense blocks), "products" (matrix-free), "newton" (second derivatives as well, for images
            of a few coordinates), or "auto", which chooses by the size of the images and the memory that the blocks
            of one path would take.
    """

    method = "levenberg_marquardt"

    def __init__(
        self,
        *,
        max_steps: int,
        convergence: Convergence | None = None,
        damping: float | None = None,
        solver: Literal["auto", "block", "products", "newton"] = "auto",
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self.damping, self.solver = damping, solver

    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        if not isinstance(action, LeastSquaresAction):
            raise TpsctlError(
                f'optimize.method "levenberg_marquardt" needs a sum of squares; "{action.functional}" is none. '
                'Use functional truncated or euler_maruyama, or method "string" or "lbfgs".'
            )
        return _Run(self, action, paths, monitor)

    def system(self, action: LeastSquaresAction, paths: Tensor) -> GaussNewtonSystem:
        """The linear system, and with it the solver, for this batch."""
        if self.solver == "newton" or (self.solver == "auto" and NewtonSystem.fits(paths)):
            return NewtonSystem(action, paths)
        blocks_fit = BlockSystem.bytes_per_path(paths) <= BlockSystem.MOST_BYTES_PER_PATH
        if self.solver == "block" or (self.solver == "auto" and blocks_fit):
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
        n, z, on_host = len(paths), paths[:, 1:-1].flatten(2), torch.empty(0, dtype=paths.dtype)
        self.state = LevenbergMarquardtState(
            base=paths.clone(),
            value=on_host.new_full((n,), torch.inf),
            gradient=torch.zeros_like(z),
            direction=torch.zeros_like(z),
            length=on_host.new_ones(n),
            stretch=on_host.new_ones(n),
            damping=on_host.new_full((n,), options.damping or self.system.first_damping),
            failures=torch.zeros(n, dtype=torch.long),
            trial=paths.clone(),
        )

    def store(self) -> State:
        return super().store() | {f"system.{name}": value for name, value in self.system.store().items()}

    def restore(self, state: State) -> None:
        super().restore(state)
        self.system.restore(within(state, "system."))

    def step(self) -> bool:
        members, s = self.monitor.begin_step(), self.state
        if len(members) == 0:
            return False
        trial = s.trial[members.there]
        terms, gradient = self.action.value_and_gradient(trial)
        reading = Reading.of(terms, gradient, *self._slope(members))
        is_better = self._is_better(members, reading)
        good, bad, found = members.where(is_better), members.where(~is_better), reading.where(is_better)
        trial, gradient = some(trial, is_better), some(gradient, is_better)
        shortfall = self._adapt(good, found)
        s.value[good.host] = found.terms.total
        s.base[good.there], s.gradient[good.there] = trial, self.scaling.gradient(gradient)
        self.monitor.accept(good, trial, found, lambda: shortfall * self._newton_decrease(good))
        self.monitor.end_step()
        self._go_on(self.monitor.running(members), self.monitor.running(good), self.monitor.running(bad))
        return True

    def _go_on(self, members: Members, good: Members, bad: Members) -> None:
        """Set the trials of the next step: for `good` paths, which moved, and for `bad` ones, whose trials failed."""
        hopeless = self.state.failures[bad.host] >= _HALVINGS
        self._halve(bad.where(~hopeless))
        self._damp_more(bad.where(hopeless))
        self._refresh(good)
        self._aim(self.monitor.running(good.and_also(bad.where(hopeless))))
        self._try(self.monitor.running(members))

    def _slope(self, members: Members) -> tuple[Float[Tensor, " active"], Float[Tensor, " active"]]:
        """-dS / d length along the direction, > 0, and the squared length of the direction; on the device."""
        direction = self.state.direction[members.there]
        slope = -(self.state.gradient[members.there] * direction).sum((1, 2)) / self.scaling.factor
        return slope, direction.square().sum((1, 2))

    def _is_better(self, members: Members, reading: Reading) -> Bool[Tensor, " active"]:
        """Whether the action decreased sufficiently; true for a first evaluation, so that the monitor records it."""
        value, before, (slope, _) = reading.terms.total, self.state.value[members.host], reading.more
        enough = value <= before - _SUFFICIENT * self.state.length[members.host] * slope
        return before.isinf() | (enough & value.isfinite())

    def _adapt(self, members: Members, reading: Reading) -> Float[Tensor, " active"]:
        """Adapt damping and stretch to the new values of some paths, before these paths move.

        Returns:
            The factor by which the parabola would lengthen the Gauss-Newton step; inf at the first evaluation.
        """
        s, index, (slope, square) = self.state, members.host, reading.more
        before, length, damping = s.value[index], s.length[index], s.damping[index]
        first, decrease = before.isinf(), before - reading.terms.total
        extra = damping * square / self.scaling.factor
        ratio = decrease / (length * slope - length.square() * (slope - extra) / 2)  # expected by the undamped model
        factor = torch.where((ratio > _GOOD) & (length >= 1), 0.1, torch.where(ratio < _POOR, 4.0, 1.0))
        s.damping[index] = torch.where(first, damping, damping * factor).clamp_min(_LEAST_DAMPING)
        curvature = 2 * (length * slope - decrease) / length.square()
        best = torch.where(curvature > 0, slope / curvature, torch.inf).clamp_min(1.0)
        s.stretch[index] = torch.where(first, 1.0, best.minimum(_MOST_STRETCH * length.clamp_min(1.0)))
        s.failures[index] = 0
        return torch.where(first, torch.inf, best)

    def _newton_decrease(self, members: Members) -> Float[Tensor, " active"]:
        """Decrease of the action by a full step, as the last matrix predicts, on the host; 1 without any matrix."""
        if self.system.empty:
            return torch.ones_like(self.state.value[members.host])
        gradient = self.state.gradient[members.there]
        decrease = (gradient * self.system.solve(members.there, gradient)).sum((1, 2)) / (2 * self.scaling.factor)
        return read_back(decrease)[0]

    def _halve(self, members: Members) -> None:
        self.state.length[members.host] *= 0.5
        self.state.failures[members.host] += 1

    def _damp_more(self, members: Members) -> None:
        if len(members) == 0:
            return
        s, index = self.state, members.host
        s.damping[index] = (10 * s.damping[index]).clamp_min(_WORKING_DAMPING)
        s.stretch[index], s.failures[index] = 1.0, 0
        self._damp(members)
        self.monitor.finish(index[s.damping[index] > _MOST_DAMPING], Status.STALLED)

    def _damp(self, members: Members) -> None:
        """Hand the present lambda of some paths to the linear system."""
        self.system.damp(members.there, sent(self.state.damping[members.host], members.there.device))

    def _refresh(self, members: Members) -> None:
        """Compute new Jacobians at the present states of some paths."""
        if len(members):
            self.system.refresh(members.there, self.state.base[members.there])
            self._damp(members)

    def _aim(self, members: Members) -> None:
        """Choose new directions for some paths."""
        if len(members):
            s = self.state
            s.direction[members.there] = -self.system.solve(members.there, s.gradient[members.there])
            s.length[members.host] = s.stretch[members.host]

    def _try(self, members: Members) -> None:
        """Set the trials of some paths to the ends of their steps, after the second-order correction."""
        if len(members):
            s, index = self.state, members.there
            step = sent(s.length[members.host], index.device).view(-1, 1, 1) * s.direction[index]
            ahead = self.scaling.moved(s.base[index], step)
            s.trial[index] = self.scaling.moved(ahead, self.system.bend(index, ahead, step))

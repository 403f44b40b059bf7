"""Limited-memory BFGS whose initial Hessian is the path Laplacian (a Sobolev gradient).

The kinetic term alone is a discrete Laplacian with condition number ~L^2; preconditioned by its inverse it is solved
in one step. This suffices while the drift term is small beside the kinetic term, for the stiffest curvature of -log p,
too; where the drift term dominates, Levenberg-Marquardt is the better choice. The scale of the initial Hessian is
learned from the latest pair. Each path searches along its own direction by backtracking with quadratic interpolation
(Armijo condition). Where no shorter step lowers the action, the path's memory is dropped and the search is repeated
along the preconditioned gradient; if that fails as well, the path counts as stalled.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapters 3.5 and 7.2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.action.base import Action
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Reading
from tpsctl.optimize.curvature_memory import CurvatureMemory
from tpsctl.optimize.members import Members, sent, some
from tpsctl.optimize.outcome import Status
from tpsctl.optimize.scaling import Scaling, laplacian_inverse

_SUFFICIENT = 1e-4
_SHORTEST = 1e-10


@dataclass
class LBFGSState:
    """Last accepted state of every path and its search direction, in scaled coordinates z = x / sqrt(D).

    Attributes:
        base: Last accepted paths, nm.
        value: Action of `base`, on the host; inf before the first evaluation.
        gradient: d(2 dt S)/dz at `base`.
        direction: Search direction from `base`.
        length: Step along it that is tried next, 1 = the full quasi-Newton step.
        scale: Factor of the initial inverse Hessian.
        remembers: 1 if the memory holds pairs, 0 if not; on the host.
        s: Position changes of the memory.
        y: Gradient changes of the memory.
    """

    base: Float[Tensor, "path image bead dim"]
    value: Float[Tensor, " path"]
    gradient: Float[Tensor, "path interior n"]
    direction: Float[Tensor, "path interior n"]
    length: Float[Tensor, " path"]
    scale: Float[Tensor, " path"]
    remembers: Int[Tensor, " path"]
    s: Float[Tensor, "path pair dof"]
    y: Float[Tensor, "path pair dof"]


class LBFGS(Optimizer):
    """L-BFGS whose initial Hessian is the path Laplacian (see the module).

    Args:
        max_steps: Most values and gradients per path.
        convergence: When a path counts as converged; None for the defaults.
        memory: Number of pairs kept.
        max_displacement_nm: Farthest that the first trial of a step moves any coordinate, nm.
    """

    method = "lbfgs"

    def __init__(
        self,
        *,
        max_steps: int,
        convergence: Convergence | None = None,
        memory: int = 20,
        max_displacement_nm: float = 0.02,
    ) -> None:
        super().__init__(max_steps=max_steps, convergence=convergence)
        self.memory, self.max_displacement_nm = memory, max_displacement_nm

    def begin(self, action: Action, paths: Tensor, monitor: Monitor) -> Minimization:
        return _Run(self, action, paths, monitor)


class _Run(Minimization):
    """One minimization by L-BFGS."""

    def __init__(self, options: LBFGS, action: Action, paths: Tensor, monitor: Monitor) -> None:
        self.action, self.monitor, self.options = action, monitor, options
        self.scaling = Scaling(action.dynamics, paths)
        self.inverse = laplacian_inverse(self.scaling.n_interior, paths)
        z, n, on_host = paths[:, 1:-1].flatten(2), len(paths), torch.empty(0, dtype=paths.dtype)
        self.memory = CurvatureMemory(z, options.memory)
        self.state = LBFGSState(
            base=paths.clone(),
            value=on_host.new_full((n,), torch.inf),
            gradient=torch.zeros_like(z),
            direction=torch.zeros_like(z),
            length=paths.new_zeros(n),
            scale=paths.new_ones(n),
            remembers=torch.zeros(n, dtype=torch.long),
            s=self.memory.s,
            y=self.memory.y,
        )

    def step(self) -> bool:
        members, s = self.monitor.begin_step(), self.state
        if len(members) == 0:
            return False
        length, direction = s.length[members.there], s.direction[members.there]
        trial = self.scaling.moved(s.base[members.there], length.view(-1, 1, 1) * direction)
        terms, gradient = self.action.value_and_gradient(trial)
        slope = (s.gradient[members.there] * direction).sum((1, 2)) / self.scaling.factor  # dS / d length at the base
        reading = Reading.of(terms, gradient, length, slope)
        is_better = self._is_better(members, reading)
        good, bad = members.where(is_better), members.where(~is_better)
        trial, gradient, found = some(trial, is_better), some(gradient, is_better), reading.where(is_better)
        self.monitor.accept(good, trial, found)
        self.monitor.end_step()
        self._accept(good, trial, found.terms.total, self.scaling.gradient(gradient))
        self._shorten(bad, reading.where(~is_better))
        return True

    def _is_better(self, members: Members, reading: Reading) -> Bool[Tensor, " active"]:
        value, before, (length, slope) = reading.terms.total, self.state.value[members.host], reading.more
        enough = value <= before + _SUFFICIENT * length * slope
        return before.isinf() | (enough & value.isfinite())

    def _accept(self, members: Members, trial: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Move some paths to their trials and choose new directions."""
        s, index = self.state, members.there
        before = ~s.value[members.host].isinf()
        seen = members.where(before)
        change = some((trial - s.base[index])[:, 1:-1].flatten(2) / self.scaling.root, before)
        turn = some(gradient - s.gradient[index], before)
        self.memory.push(seen.there, change, turn)
        s.base[index], s.value[members.host], s.gradient[index] = trial, value, gradient
        s.remembers[seen.host] = 1
        self._rescale(seen.there, change, turn)
        self._aim(members)

    def _rescale(self, index: Tensor, change: Tensor, turn: Tensor) -> None:
        curvature, size = (change * turn).sum((1, 2)), (turn * self._smooth(turn)).sum((1, 2))
        scale = curvature / size
        self.state.scale[index] = torch.where((curvature > 0) & scale.isfinite(), scale, self.state.scale[index])

    def _smooth(self, v: Tensor) -> Tensor:
        """The inverse path Laplacian times v."""
        return torch.einsum("ij,pjn->pin", self.inverse, v)

    def _aim(self, members: Members) -> None:
        """Choose new directions for some paths, and first lengths that move no coordinate too far."""
        if len(members) == 0:
            return
        s, index = self.state, members.there
        scale = s.scale[index].view(-1, 1, 1)
        s.direction[index] = -self.memory.apply(index, s.gradient[index], lambda g: scale * self._smooth(g))
        farthest = (s.direction[index] * self.scaling.root).abs().flatten(1).amax(1)
        limit = self.options.max_displacement_nm / farthest.clamp_min(torch.finfo(farthest.dtype).tiny)
        s.length[index] = limit.clamp_max(1.0)

    def _shorten(self, members: Members, reading: Reading) -> None:
        """Shorten the steps of failed paths; where one is too short, drop the memory, or end a path without memory."""
        s, (length, slope) = self.state, reading.more
        excess = reading.terms.total - s.value[members.host] - length * slope
        best = -slope * length.square() / (2 * excess)
        best = torch.where(best.isfinite(), best, 0.0)
        shorter = torch.minimum(torch.maximum(best, 0.1 * length), 0.5 * length)
        s.length[members.there] = sent(shorter, members.there.device)
        short = members.where(shorter < _SHORTEST)
        remembers = s.remembers[short.host] == 1
        self.monitor.finish(short.host[~remembers], Status.STALLED)
        fresh = short.where(remembers)
        self.memory.forget(fresh.there)
        s.remembers[fresh.host] = 0
        self._aim(fresh)

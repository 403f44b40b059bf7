"""Limited-memory BFGS whose initial Hessian is the path Laplacian (a Sobolev gradient).

The kinetic term alone is a discrete Laplacian with condition number ~L^2; preconditioned by its inverse it is solved
in one step. That is all there is to it while dt D k^2 is small for the stiffest curvature k of -log p; beyond, the
drift term rules and Levenberg-Marquardt is the better choice. The scale of the initial Hessian is learned from
the latest pair. Each path searches along its own direction by backtracking with quadratic interpolation
(Armijo condition); where no shorter step helps, its memory is dropped once, then the path counts as stalled.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapters 3.5 and 7.2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.action.base import Action, ActionTerms
from tpsctl.optimize.base import Convergence, Minimization, Monitor, Optimizer, Status, indices
from tpsctl.optimize.curvature_memory import CurvatureMemory
from tpsctl.optimize.scaling import Scaling, laplacian_inverse

_SUFFICIENT = 1e-4
_SHORTEST = 1e-10


@dataclass
class LBFGSState:
    """Where every path stands; gradient and direction in scaled coordinates.

    Attributes:
        base: Last accepted paths, nm.
        value: Action there; inf before the first evaluation.
        gradient: d(2 dt S)/dz there.
        direction: Search direction from there.
        length: Step along it that is tried next, 1 = the full quasi-Newton step.
        scale: Factor of the initial inverse Hessian.
        remembers: 1 if the memory holds pairs, 0 if not.
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
    """L-BFGS over the path Laplacian.

    Args:
        max_steps: Most values and gradients per path.
        convergence: When a path is finished.
        memory: Pairs kept.
        max_displacement_nm: Longest first trial of any coordinate in a step, nm.
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
        z, n = paths[:, 1:-1].flatten(2), len(paths)
        self.memory = CurvatureMemory(z, options.memory)
        self.state = LBFGSState(
            base=paths.clone(),
            value=paths.new_full((n,), torch.inf),
            gradient=torch.zeros_like(z),
            direction=torch.zeros_like(z),
            length=paths.new_zeros(n),
            scale=paths.new_ones(n),
            remembers=torch.zeros(n, dtype=torch.long, device=paths.device),
            s=self.memory.s,
            y=self.memory.y,
        )

    def step(self) -> bool:
        index, s = self.monitor.begin_step(), self.state
        if len(index) == 0:
            return False
        trial = self.scaling.moved(s.base[index], s.length[index].view(-1, 1, 1) * s.direction[index])
        terms, gradient = self.action.value_and_gradient(trial)
        is_better = self._is_better(index, terms.total)
        better, worse = indices(is_better), indices(~is_better)
        good, bad, value_of_bad = index[better], index[worse], terms.total[worse]
        trial, terms, gradient = trial[better], terms.select(better), gradient[better]
        self.monitor.accept(good, trial, terms, gradient)
        self.monitor.end_step()
        self._accept(good, trial, terms, self.scaling.gradient(gradient))
        self._shorten(bad, value_of_bad)
        return True

    def _slope(self, index: Tensor) -> Float[Tensor, " active"]:
        """dS/d length along the direction, at the base."""
        s = self.state
        return (s.gradient[index] * s.direction[index]).sum((1, 2)) / self.scaling.factor

    def _is_better(self, index: Tensor, value: Tensor) -> Tensor:
        s = self.state
        enough = value <= s.value[index] + _SUFFICIENT * s.length[index] * self._slope(index)
        return s.value[index].isinf() | (enough & value.isfinite())

    def _accept(self, index: Tensor, trial: Tensor, terms: ActionTerms, gradient: Tensor) -> None:
        """Move the paths `index` to their trials and aim anew."""
        s, seen = self.state, ~self.state.value[index].isinf()
        change = (trial - s.base[index])[:, 1:-1].flatten(2) / self.scaling.root
        turn = gradient - s.gradient[index]
        self.memory.push(index[seen], change[seen], turn[seen])
        s.base[index], s.value[index], s.gradient[index] = trial, terms.total, gradient
        s.remembers[index[seen]] = 1
        self._rescale(index[seen], change[seen], turn[seen])
        self._aim(index)

    def _rescale(self, index: Tensor, change: Tensor, turn: Tensor) -> None:
        curvature, size = (change * turn).sum((1, 2)), (turn * self._smooth(turn)).sum((1, 2))
        scale = curvature / size
        self.state.scale[index] = torch.where((curvature > 0) & scale.isfinite(), scale, self.state.scale[index])

    def _smooth(self, v: Tensor) -> Tensor:
        """The inverse Laplacian along the path, times v."""
        return torch.einsum("ij,pjn->pin", self.inverse, v)

    def _aim(self, index: Tensor) -> None:
        """A direction for the paths `index`, and a first length that moves no coordinate too far."""
        if len(index) == 0:
            return
        s = self.state
        scale = s.scale[index].view(-1, 1, 1)
        s.direction[index] = -self.memory.apply(index, s.gradient[index], lambda g: scale * self._smooth(g))
        farthest = (s.direction[index] * self.scaling.root).abs().flatten(1).amax(1)
        limit = self.options.max_displacement_nm / farthest.clamp_min(torch.finfo(farthest.dtype).tiny)
        s.length[index] = limit.clamp_max(1.0)

    def _shorten(self, index: Tensor, value: Tensor) -> None:
        """A shorter step for the failed paths; one too short to matter drops the memory, then ends the path."""
        s = self.state
        length, slope = s.length[index], self._slope(index)
        excess = value - s.value[index] - length * slope
        best = -slope * length.square() / (2 * excess)
        best = torch.where(best.isfinite(), best, 0.0)
        s.length[index] = torch.minimum(torch.maximum(best, 0.1 * length), 0.5 * length)
        short = index[s.length[index] < _SHORTEST]
        fresh = short[s.remembers[short] == 1]
        self.monitor.finish(short[s.remembers[short] == 0], Status.STALLED)
        self.memory.forget(fresh)
        s.remembers[fresh] = 0
        self._aim(fresh)

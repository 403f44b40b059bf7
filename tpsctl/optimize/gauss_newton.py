"""Damped Gauss-Newton systems (M + lambda) p = b of a batch of paths, in scaled coordinates.

M is block-tridiagonal over the interior images (`LeastSquaresAction`). `BlockSystem` factors it exactly,

    C_1 = chol(A_1 + lambda),   W_i = C_i^-1 U_i,   C_{i+1} = chol(A_{i+1} + lambda - W_i^T W_i) ,

all paths at once, O(images n^3); `ProductSystem` stores no matrix and solves by conjugate gradients on products with
the score's Jacobian, for molecules whose blocks do not fit into memory. Both remember the paths at which their
Jacobians were taken, so that one Jacobian serves every trial from there.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.action.base import LeastSquaresAction
from tpsctl.optimize.scaling import laplacian_inverse
from tpsctl.optimize.state import State

_STIFF = 100.0
"""Damping of `bend`, which corrects residuals whose curvature K^2 exceeds this and hardly moves softer modes."""


_LOOK_EVERY = 10
"""Products between two checks of the residual on a GPU; a check waits for the GPU, which costs more than products."""


class GaussNewtonSystem(ABC):
    """One damped system per path, refreshed and solved for any subset of the batch; all on the device of the paths.

    Attributes:
        empty: True until the first `refresh`.
        first_damping: Initial lambda, in units of the path Laplacian.
    """

    empty = True
    first_damping = 1e-3

    @abstractmethod
    def refresh(self, index: Int[Tensor, " active"], paths: Tensor) -> None:
        """Compute new Jacobians at `paths`, the present states (nm) of the batch members `index`."""

    @abstractmethod
    def damp(self, index: Int[Tensor, " active"], damping: Float[Tensor, " active"]) -> None:
        """Set lambda of the batch members `index`."""

    @abstractmethod
    def bend(self, index: Int[Tensor, " active"], ahead: Tensor, step: Float[Tensor, "active interior n"]) -> Tensor:
        """The second-order correction of a step, which returns stiff residuals to their linear prediction.

        Args:
            index: Numbers of the batch members.
            ahead: Paths to which the step leads, nm.
            step: The step in scaled coordinates.

        Returns:
            Displacement to add to the step, shaped like it.

        Source: Nocedal and Wright, Numerical Optimization, 2nd ed., chapter 18.3.
        """

    @abstractmethod
    def solve(self, index: Int[Tensor, " active"], b: Float[Tensor, "active interior n"]) -> Tensor:
        """Solve for (M + lambda)^-1 b of the batch members `index`; not finite where the system has no solution."""

    @abstractmethod
    def parts(self) -> State:
        """All tensors of a refreshed system by name.

        They are stored rather than computed again, because a computation for other members of the batch at once may
        round differently.
        """

    def store(self) -> State:
        """Copies of all parts; nothing before the first `refresh`."""
        return {} if self.empty else {name: part.clone() for name, part in self.parts().items()}

    def restore(self, state: State) -> None:
        """Take over the parts that `store` returned."""
        self.empty = not state
        for name, stored in state.items():
            own = getattr(self, f"_{name}")
            setattr(self, f"_{name}", own.copy_(stored) if own.shape == stored.shape else stored.to(own))


class BlockSystem(GaussNewtonSystem):
    """A system of dense blocks with their block-Cholesky factors, which needs five n x n matrices per image.

    Args:
        action: Gives the blocks.
        paths: The batch, nm.
    """

    MOST_BYTES_PER_PATH = 1e9
    """Bytes of one path's matrices up to which this system is preferred to `ProductSystem`. The limit is for one path,
    not for the batch, so that the solver, and with it the result, is the same for any size of the batch."""

    def __init__(self, action: LeastSquaresAction, paths: Float[Tensor, "path image bead dim"]) -> None:
        self._action = action
        n_paths, m, n = paths.shape[0], paths.shape[1] - 2, paths[0, 0].numel()
        self._diagonal = paths.new_zeros(n_paths, m, n, n)
        self._jacobian = paths.new_zeros(n_paths, m, n, n)
        self._stiff = paths.new_zeros(n_paths, m, n, n)
        self._drift = paths.new_zeros(n_paths, m, n)
        self._upper = paths.new_zeros(0)
        self._factor = paths.new_zeros(m, n_paths, n, n)
        self._coupling = paths.new_zeros(max(m - 1, 0), n_paths, n, n)

    @classmethod
    def bytes_per_path(cls, paths: Float[Tensor, "path image bead dim"]) -> int:
        """Bytes that the five matrices of all images of one path take."""
        return 5 * paths.shape[1] * paths[0, 0].numel() ** 2 * paths.element_size()

    def parts(self) -> State:
        names = ("diagonal", "jacobian", "stiff", "drift", "upper", "factor", "coupling")
        return {name: getattr(self, f"_{name}") for name in names}

    def refresh(self, index: Tensor, paths: Tensor) -> None:
        self.empty = False
        jacobian = self._action.scaled_jacobian(paths)
        diagonal, upper = self._action.normal_blocks(jacobian)
        self._diagonal[index], self._jacobian[index] = diagonal, jacobian
        stiff = diagonal.clone()
        stiff.diagonal(dim1=-2, dim2=-1).add_(_STIFF)
        self._stiff[index] = torch.linalg.cholesky_ex(stiff)[0]
        self._drift[index] = self._action.scaled_drift(paths)
        if upper.shape[:2] == (1, 1):
            self._upper = upper  # one block is shared by all images
            return
        if self._upper.numel() == 0:
            self._upper = upper.new_zeros(len(self._diagonal), *upper.shape[1:])
        self._upper[index] = upper

    def bend(self, index: Tensor, ahead: Tensor, step: Tensor) -> Tensor:
        jacobian = self._jacobian[index]
        error = self._action.scaled_drift(ahead) - self._drift[index] - _times(jacobian, step)
        right = self._action.project(error, lambda v: _times(jacobian.mT, v)).unsqueeze(-1)
        return -torch.cholesky_solve(right, self._stiff[index]).squeeze(-1)

    def damp(self, index: Tensor, damping: Tensor) -> None:
        diagonal = self._diagonal[index]
        diagonal.diagonal(dim1=-2, dim2=-1).add_(damping.view(-1, 1, 1))
        m = diagonal.shape[1]
        shared = self._upper.shape[1] == 1
        pivot = diagonal[:, 0]
        for i in range(m):
            factor, failed = torch.linalg.cholesky_ex(pivot)
            factor.masked_fill_((failed > 0).view(-1, 1, 1), torch.nan)
            self._factor[i, index] = factor
            if i + 1 < m:
                upper = self._upper.expand(len(index), -1, -1, -1)[:, 0] if shared else self._upper[index, i]
                coupling = torch.linalg.solve_triangular(factor, upper, upper=False)
                self._coupling[i, index] = coupling
                pivot = diagonal[:, i + 1] - coupling.mT @ coupling

    def solve(self, index: Tensor, b: Tensor) -> Tensor:
        whole = len(index) == self._factor.shape[1]
        factor = self._factor if whole else self._factor[:, index]
        coupling = self._coupling if whole else self._coupling[:, index]
        column, m = b.unsqueeze(-1), b.shape[1]
        forward: list[Tensor] = []
        for i in range(m):
            right = column[:, i] - coupling[i - 1].mT @ forward[-1] if i else column[:, 0]
            forward.append(torch.linalg.solve_triangular(factor[i], right, upper=False))
        for i in reversed(range(m)):
            right = forward[i] - coupling[i] @ forward[i + 1] if i + 1 < m else forward[i]
            forward[i] = torch.linalg.solve_triangular(factor[i].mT, right, upper=True)
        return torch.stack(forward, dim=1).squeeze(-1)


class ProductSystem(GaussNewtonSystem):
    """A system without a matrix, solved by conjugate gradients preconditioned with the damped path Laplacian.

    Args:
        action: Gives products with the Gauss-Newton matrix.
        paths: The batch, nm.
        tolerance: Norm of the residual at which a solution is accepted, relative to b.
        max_products: Most products per solution.
    """

    def __init__(
        self, action: LeastSquaresAction, paths: Tensor, *, tolerance: float = 1e-2, max_products: int = 100
    ) -> None:
        self._action, self._paths = action, paths.clone()
        self._tolerance, self._max_products = tolerance, max_products
        self._damping = paths.new_zeros(len(paths))
        m = paths.shape[1] - 2
        self._values, self._modes = torch.linalg.eigh(torch.linalg.inv(laplacian_inverse(m, paths)))

    def parts(self) -> State:
        return {"paths": self._paths, "damping": self._damping}

    def refresh(self, index: Tensor, paths: Tensor) -> None:
        self.empty = False
        self._paths[index] = paths

    def damp(self, index: Tensor, damping: Tensor) -> None:
        self._damping[index] = damping

    def bend(self, index: Tensor, ahead: Tensor, step: Tensor) -> Tensor:
        forward, backward = self._action.scaled_products(self._paths[index])
        base = self._action.scaled_drift(self._paths[index])
        error = self._action.scaled_drift(ahead) - base - forward(step)
        return -self._conjugate_gradients(index, self._action.project(error, backward), _STIFF)

    def solve(self, index: Tensor, b: Tensor) -> Tensor:
        return self._conjugate_gradients(index, b, self._damping[index].view(-1, 1, 1))

    def _conjugate_gradients(self, index: Tensor, b: Tensor, damping: Tensor | float) -> Tensor:
        forward, backward = self._action.scaled_products(self._paths[index])
        x, r = torch.zeros_like(b), b.clone()
        z = self._precondition(r, damping)
        p, rz = z, _dot(r, z)
        goal = self._tolerance**2 * _dot(b, b)
        every = 1 if b.device.type == "cpu" else _LOOK_EVERY
        for number in range(self._max_products):
            if number % every == 0 and bool((_dot(r, r) <= goal).all()):
                break
            mp = self._action.normal_product(p, forward, backward) + damping * p
            step = rz / _dot(p, mp).clamp_min(torch.finfo(b.dtype).tiny)
            x, r = x + step * p, r - step * mp
            z = self._precondition(r, damping)
            rz, before = _dot(r, z), rz
            p = z + rz / before.clamp_min(torch.finfo(b.dtype).tiny) * p
        return x

    def _precondition(self, r: Tensor, damping: Tensor | float) -> Tensor:
        spectral = torch.einsum("ik,pin->pkn", self._modes, r) / (self._values.view(1, -1, 1) + damping)
        return torch.einsum("ik,pkn->pin", self._modes, spectral)


def _times(matrix: Float[Tensor, "... n n"], v: Float[Tensor, "... n"]) -> Tensor:
    return (matrix @ v.unsqueeze(-1)).squeeze(-1)


def _dot(a: Tensor, b: Tensor) -> Float[Tensor, "path 1 1"]:
    return (a * b).sum((1, 2), keepdim=True)

"""Damped Newton systems (H + lambda) p = b of small problems: model potentials with a few coordinates per image.

Gauss-Newton leaves out how the score's Jacobian changes; on a strongly curved surface that part dominates, and
Gauss-Newton needs many short steps. With one to a few coordinates n per image the whole Hessian is cheap: d^2(2 dt
S)/dz^2 is block-tridiagonal, so central differences of the gradient with every third image displaced at once give it
from 6 n gradients, evaluated as one batch, and one Cholesky factorization per path serves all images. Where H + lambda
is not positive definite, far from a minimum, the Gauss-Newton matrix takes its place.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import LeastSquaresAction
from tpsctl.optimize.gauss_newton import GaussNewtonSystem
from tpsctl.optimize.scaling import Scaling
from tpsctl.optimize.state import State

_DISPLACEMENT = 1e-4
"""Displacement of the central differences, in units of the largest gap between neighboring images."""


class NewtonSystem(GaussNewtonSystem):
    """A system with one dense matrix of (interior n)^2 elements per path, the Hessian with all second derivatives.

    Args:
        action: Gives gradients and Gauss-Newton blocks.
        paths: The batch, nm.
    """

    first_damping = 0.1
    LARGEST_IMAGE, LARGEST_PATH = 4, 600
    """Coordinates per image, and free coordinates per path, up to which this system is the fastest."""

    def __init__(self, action: LeastSquaresAction, paths: Float[Tensor, "path image bead dim"]) -> None:
        self._action = action
        self._paths = paths.clone()
        size = paths[0, 1:-1].numel()
        self._hessian = paths.new_zeros(len(paths), size, size)
        self._factor = torch.zeros_like(self._hessian)

    @classmethod
    def fits(cls, paths: Float[Tensor, "path image bead dim"]) -> bool:
        """Whether paths are so small that this system is the fastest."""
        return paths[0, 0].numel() <= cls.LARGEST_IMAGE and paths[0, 1:-1].numel() <= cls.LARGEST_PATH

    def parts(self) -> State:
        return {"paths": self._paths, "hessian": self._hessian, "factor": self._factor}

    def refresh(self, index: Tensor, paths: Tensor) -> None:
        self.empty = False
        self._paths[index] = paths
        self._hessian[index] = _joined(*newton_blocks(self._action, paths))

    def damp(self, index: Tensor, damping: Tensor) -> None:
        factor, failed = _factored(self._hessian[index], damping)
        if failed.device.type != "cpu":  # looking for failures would wait for the device
            squares = self._squares(index, damping)
            factor = torch.where(failed.view(-1, 1, 1), squares, factor)
        elif bool(failed.any()):
            factor[failed] = self._squares(index[failed], damping[failed])
        self._factor[index] = factor

    def _squares(self, index: Tensor, damping: Tensor) -> Float[Tensor, "active size size"]:
        """Cholesky factors of the damped Gauss-Newton matrices."""
        jacobian = self._action.scaled_jacobian(self._paths[index])
        return _factored(_joined(*self._action.normal_blocks(jacobian)), damping)[0]

    def bend(self, index: Tensor, ahead: Tensor, step: Tensor) -> Tensor:
        return torch.zeros_like(step)  # model potentials have no stiff residuals

    def solve(self, index: Tensor, b: Tensor) -> Tensor:
        return torch.cholesky_solve(b.flatten(1).unsqueeze(-1), self._factor[index]).view_as(b)


@functools.cache
def _moves(m: int, n: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "3 n 1 m n"]:
    """Displacements for the differences: each moves one coordinate of every third image, so that blocks do not mix."""
    every_third = torch.arange(m, device=device) % 3 == torch.arange(3, device=device).unsqueeze(1)
    coordinate = torch.eye(n, dtype=dtype, device=device)
    return every_third.view(3, 1, 1, m, 1) * coordinate.view(1, n, 1, 1, n)


def newton_blocks(action: LeastSquaresAction, paths: Float[Tensor, "path image bead dim"]) -> tuple[Tensor, Tensor]:
    """Hessian of 2 dt S in z = x / sqrt(D) at the given paths, nm.

    Returns:
        Diagonal blocks (path, interior, n, n) and upper off-diagonal blocks (path, interior - 1, n, n).
    """
    scaling, n_paths = Scaling(action.dynamics, paths), len(paths)
    m, n = paths.shape[1] - 2, paths[0, 0].numel()
    h = _DISPLACEMENT * (paths.diff(dim=1).flatten(2) / scaling.root).abs().amax((1, 2))
    step = (h.view(-1, 1, 1) * _moves(m, n, paths.dtype, paths.device)).flatten(0, 2)
    moved = scaling.moved(paths.expand(6 * n, *paths.shape).flatten(0, 1), torch.cat((step, -step)))
    gradient = scaling.gradient(action.value_and_gradient(moved)[1]).view(2, 3, n, n_paths, m, n)
    slope = ((gradient[0] - gradient[1]) / (2 * h.view(-1, 1, 1))).permute(0, 2, 3, 4, 1)  # (color, path, image, n, j)
    image = torch.arange(m, device=paths.device)
    color = image % 3
    diagonal = slope[color, :, image].transpose(0, 1)
    upper = slope[color[1:], :, image[:-1]].transpose(0, 1)
    return (diagonal + diagonal.mT) / 2, upper


def _joined(diagonal: Tensor, upper: Tensor) -> Float[Tensor, "path size size"]:
    """One matrix from its blocks."""
    n_paths, m, n = diagonal.shape[:3]
    whole = diagonal.new_zeros(n_paths, m, n, m, n)
    image = torch.arange(m, device=diagonal.device)
    whole[:, image, :, image] = diagonal.transpose(0, 1)
    if m > 1:
        upper = upper.expand(n_paths, m - 1, n, n).transpose(0, 1)
        whole[:, image[:-1], :, image[1:]] = upper
        whole[:, image[1:], :, image[:-1]] = upper.mT
    return whole.view(n_paths, m * n, m * n)


def _factored(matrix: Tensor, damping: Float[Tensor, " path"]) -> tuple[Tensor, Tensor]:
    """Cholesky factors of matrix + lambda, and a mask of the paths without one, whose factors are NaN."""
    damped = matrix.clone()
    damped.diagonal(dim1=-2, dim2=-1).add_(damping.unsqueeze(-1))
    factor, info = torch.linalg.cholesky_ex(damped)
    failed = info > 0
    return factor.masked_fill_(failed.view(-1, 1, 1), torch.nan), failed

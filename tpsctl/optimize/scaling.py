"""Scaled coordinates, in which the kinetic term is the same for every bead.

z = x / sqrt(D) at the interior images, flattened to (path, L-1, n) with n = bead * dim, and the objective
2 dt S: its kinetic part is then half the path Laplacian (-1, 2, -1), whatever the masses, the step and the units.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.action.base import Dynamics


class Scaling:
    """Converts between paths in nm and scaled interior coordinates.

    Args:
        dynamics: Gives D and dt.
        paths: A batch of the shape, precision and device to convert, nm.

    Attributes:
        factor: 2 dt, ps.
        root: sqrt(D) of every coordinate of an image, (n,), nm/sqrt(ps).
    """

    def __init__(self, dynamics: Dynamics, paths: Float[Tensor, "path image bead dim"]) -> None:
        self._shape = paths.shape[1:]
        self.factor = 2 * dynamics.dt_ps
        self.root = dynamics.diffusion_like(paths).sqrt().expand(paths.shape[2:]).flatten()

    @property
    def n_interior(self) -> int:
        """Number of free images of a path."""
        return self._shape[0] - 2

    def gradient(self, gradient: Float[Tensor, "path image bead dim"]) -> Float[Tensor, "path interior n"]:
        """d(2 dt S)/dz from dS/dx."""
        return self.factor * self.root * gradient[:, 1:-1].flatten(2)

    def moved(self, paths: Tensor, step: Float[Tensor, "path interior n"]) -> Tensor:
        """Paths with a step in z added to their interior images."""
        moved = paths.clone()
        moved[:, 1:-1] += (step * self.root).unflatten(2, tuple(self._shape[1:]))
        return moved


def laplacian_inverse(m: int, like: Tensor) -> Float[Tensor, "m m"]:
    """Inverse of the m x m matrix tridiag(-1, 2, -1): min(i, j) (m + 1 - max(i, j)) / (m + 1)."""
    i = torch.arange(1, m + 1, dtype=like.dtype, device=like.device)
    low, high = torch.minimum(i[:, None], i), torch.maximum(i[:, None], i)
    return low * (m + 1 - high) / (m + 1)

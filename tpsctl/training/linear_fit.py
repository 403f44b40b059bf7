"""Closed-form score matching of the linear energy, one ridge regression per noise width.

With score(y) = -sum_k c_k grad phi_k(y), the least-squares fit to targets T along directions v,

    sum over (y, v) of w(y) [ v . T + sum_k c_k (v . grad phi_k) ]^2  +  ridge * sum_k c_k^2 A_kk ,

A = sum w (v . grad phi)(v . grad phi)^T, has a unique minimum. Directions are isotropic random ones and
random combinations of rotations about rotatable bonds, each of unit length. Torsional targets are small
and nearly free of noise, those of the bonds large and noisy: each sort is weighted by the inverse variance
of its residuals, found by solving twice.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tpsctl.prior.network.linear_energy import LinearEnergy
from tpsctl.training.targets import Batch, TargetSource

_DIRECTIONS = 6
"""Of each sort, per structure."""

_CHUNK = 500


def set_reference(energy: LinearEnergy, positions: Tensor, *, smallest_width: float = 2e-3) -> None:
    """Center and scale of the quadratic terms from clean frames (frame, bead, 3), nm."""
    c = energy.coordinates
    values = torch.cat((c.distances(positions), c.cosines(positions)), 1)
    energy.center.copy_(values.mean(0))
    energy.width.copy_(values.std(0).clamp_min(smallest_width))


def fit_linear_energy(
    energy: LinearEnergy,
    source: TargetSource,
    rotations: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    *,
    samples: int = 6000,
    ridge: float = 1e-6,
    on_level: Callable[[int, list[float]], None] | None = None,
) -> None:
    """Fill the coefficients of `energy` at every width of its ladder.

    Args:
        energy: Its `log_sigmas`, `center` and `width` are set already.
        source: Draws noised structures with targets.
        rotations: Torsional directions at y, see `targets.internal_rotations`.
        generator: Randomness of the directions.
        samples: Noised structures per width.
        ridge: Regularization relative to each term's own strength.
        on_level: Called with the level and the explained fractions of variance, isotropic and torsional.
    """
    for level, log_sigma in enumerate(energy.log_sigmas):
        sorts = [_NormalEquations(energy.n_terms) for _ in range(2)]
        for _ in range(0, samples, _CHUNK):
            batch = source.draw(log_sigma.exp().expand(_CHUNK))
            for equations, directions in zip(sorts, (_isotropic, rotations), strict=True):
                equations.add(*_equations(energy, batch, directions(batch.y), generator))
        solution = _solve(sorts, [1.0, 1.0], ridge)
        solution = _solve(sorts, [1 / equations.residual_variance(solution) for equations in sorts], ridge)
        energy.coefficients[level] = solution.to(energy.coefficients.dtype)
        if on_level is not None:
            on_level(level, [1 - equations.residual_variance(solution) / equations.variance for equations in sorts])


class _NormalEquations:
    """Sums A = R^T R, b = R^T r, r^T r of the equations R c = r of one sort."""

    def __init__(self, n_terms: int) -> None:
        self.matrix = torch.zeros(n_terms, n_terms, dtype=torch.float64)
        self.right = torch.zeros(n_terms, dtype=torch.float64)
        self._square = 0.0
        self._count = 0

    def add(self, rows: Tensor, values: Tensor) -> None:
        self.matrix += rows.T @ rows
        self.right += rows.T @ values
        self._square += float(values.double().square().sum())
        self._count += len(values)

    @property
    def variance(self) -> float:
        return self._square / self._count

    def residual_variance(self, solution: Tensor) -> float:
        explained = 2 * solution @ self.right - solution @ self.matrix @ solution
        return max(self._square - float(explained), 1e-12 * self._square) / self._count


def _solve(sorts: list[_NormalEquations], weights: list[float], ridge: float) -> Tensor:
    matrix = sum(w * s.matrix for w, s in zip(weights, sorts, strict=True))
    right = sum(w * s.right for w, s in zip(weights, sorts, strict=True))
    assert isinstance(matrix, Tensor) and isinstance(right, Tensor)
    strength = matrix.diagonal().clone()
    matrix.diagonal().add_(ridge * strength + 1e-9 * strength.mean())
    return torch.linalg.solve(matrix, right)


def _isotropic(y: Tensor) -> Tensor:
    """Basis of all displacements as directions, (batch, coordinate, bead, 3)."""
    n = y.shape[1] * y.shape[2]
    return torch.eye(n, dtype=y.dtype).reshape(1, n, *y.shape[1:]).expand(len(y), -1, -1, -1)


def _equations(
    energy: LinearEnergy, batch: Batch, basis: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows v . grad phi (equation, term) and values -v . T, times sqrt(weight), for random v in the span of `basis`."""
    rows, values = [], []
    scale = batch.weight.sqrt()
    for _ in range(_DIRECTIONS):
        mix = torch.randn(basis.shape[:2], generator=generator, dtype=basis.dtype)
        v = torch.einsum("bt,btad->bad", mix, basis)
        v = v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1)
        _, row = torch.func.jvp(lambda y: energy.terms(y, batch.sigma), (batch.y,), (v,))
        rows.append(row * scale.unsqueeze(1))
        values.append(-(v * batch.target).sum((1, 2)) * scale)
    return torch.cat(rows), torch.cat(values)

"""Closed-form score matching of the linear energy, a regression per noise width.

With score(y) = -sum_k c_k grad phi_k(y), the least-squares fit to targets T along directions v,

    sum over (y, v) of w(y) [ v . T + sum_k c_k (v . grad phi_k) ]^2  +  penalty * sum_k (c_k - c_k')^2 A_kk / n ,

A = sum w (v . grad phi)(v . grad phi)^T over n equations, has a unique minimum. Directions are isotropic
random ones and random combinations of rotations about rotatable bonds, each of unit length. Torsional
targets are small and nearly free of noise, those of the bonds large and noisy: each sort is weighted by the
inverse variance of its residuals, found by solving twice. At small widths c' is the solution at the width
before, beginning with the forces of noiseless frames: coefficients change with the noise only as far as the
targets demand, and the noise of the targets does not add up in the many directions that they hardly
determine. At larger widths c' = 0 (a ridge), and steep inverse powers are left out: a negative coefficient that hardly
matters on the data makes colliding atoms collapse, and a sampler finds them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tpsctl.networks.internal_energy.linear import LinearEnergy
from tpsctl.training.targets import Batch, TargetSource

_DIRECTIONS = 6
"""Of each sort, per structure."""

_CHUNK = 500
_RIDGE = 10.0
_NOISELESS_RIDGE = 0.1
_CONTINUITY = 300.0
_FORCES_KNOWN_BELOW_NM = 0.005
_LEAD_IN = (0.01, 0.25, 0.5)
"""Fractions of the smallest width at which the fit begins; at the first the targets are the physical forces."""


def set_reference(energy: LinearEnergy, positions: Tensor, *, smallest_width: float = 2e-3) -> None:
    """Center and scale of the quadratic terms from clean frames (frame, bead, 3), nm."""
    values = energy.coordinates(positions, torch.zeros(len(positions)))
    quadratic = torch.cat((values.distances, values.angles), 1)
    energy.center.copy_(quadratic.mean(0))
    energy.width.copy_(quadratic.std(0).clamp_min(smallest_width))


def fit_linear_energy(
    energy: LinearEnergy,
    source: TargetSource,
    rotations: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    *,
    samples: int = 6000,
    on_level: Callable[[int, list[float]], None] | None = None,
) -> None:
    """Fill the coefficients of `energy` at every width of its ladder.

    Args:
        energy: Its `log_sigmas`, `center` and `width` are set already.
        source: Draws noised structures with targets.
        rotations: Torsional directions at y, see `targets.internal_rotations`.
        generator: Randomness of the directions.
        samples: Noised structures per width.
        on_level: Called with the level and the explained fractions of variance, isotropic and torsional.
    """
    solution = torch.zeros(energy.n_terms, dtype=torch.float64)
    penalty = _NOISELESS_RIDGE if source.knows_forces else _RIDGE
    kept = torch.ones(energy.n_terms, dtype=torch.bool)
    ladder = energy.log_sigmas.exp().tolist()
    lead_in = [(-1, fraction * ladder[0]) for fraction in _LEAD_IN] if source.knows_forces else []
    for level, sigma in [*lead_in, *enumerate(ladder)]:
        if sigma > _FORCES_KNOWN_BELOW_NM:
            solution, penalty, kept = torch.zeros_like(solution), _RIDGE, energy.bounded
        sorts = _accumulate(energy, source, rotations, generator, sigma, samples)
        first = _solve(sorts, [1 / equations.variance for equations in sorts], solution, penalty, kept)
        weights = [1 / equations.residual_variance(first) for equations in sorts]
        solution, penalty = _solve(sorts, weights, solution, penalty, kept), _CONTINUITY
        if level >= 0:
            energy.coefficients[level] = solution.to(energy.coefficients.dtype)
            if on_level is not None:
                on_level(level, [1 - e.residual_variance(solution) / e.variance for e in sorts])


def _accumulate(
    energy: LinearEnergy,
    source: TargetSource,
    rotations: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    sigma: float,
    samples: int,
) -> list["_NormalEquations"]:
    """Normal equations at one width: isotropic and torsional."""
    sorts = [_NormalEquations(energy.n_terms) for _ in range(2)]
    for _ in range(0, samples, _CHUNK):
        batch = source.draw(torch.full((_CHUNK,), sigma))
        for equations, directions in zip(sorts, (_isotropic, rotations), strict=True):
            equations.add(*_equations(energy, batch, directions(batch.y), generator))
    return sorts


class _NormalEquations:
    """Sums A = R^T R, b = R^T r, r^T r of the equations R c = r of one sort."""

    def __init__(self, n_terms: int) -> None:
        self.matrix = torch.zeros(n_terms, n_terms, dtype=torch.float64)
        self.right = torch.zeros(n_terms, dtype=torch.float64)
        self._square = 0.0
        self.count = 0

    def add(self, rows: Tensor, values: Tensor) -> None:
        self.matrix += rows.T @ rows
        self.right += rows.T @ values
        self._square += float(values.double().square().sum())
        self.count += len(values)

    @property
    def variance(self) -> float:
        return self._square / self.count

    def residual_variance(self, solution: Tensor) -> float:
        explained = 2 * solution @ self.right - solution @ self.matrix @ solution
        return max(self._square - float(explained), 1e-12 * self._square) / self.count


def _solve(sorts: list[_NormalEquations], weights: list[float], start: Tensor, penalty: float, kept: Tensor) -> Tensor:
    """Weighted least squares with a penalty on the distance from `start`; only `kept` terms, the others zero."""
    matrix = torch.stack([w * s.matrix for w, s in zip(weights, sorts, strict=True)]).sum(0)[kept][:, kept]
    right = torch.stack([w * s.right for w, s in zip(weights, sorts, strict=True)]).sum(0)[kept]
    strength = matrix.diagonal() / sum(s.count for s in sorts)
    strength = strength + 1e-6 * strength.mean()
    matrix.diagonal().add_(penalty * strength)
    solution = torch.zeros_like(start)
    solution[kept] = torch.linalg.solve(matrix, right + penalty * strength * start[kept])
    return solution


def _isotropic(y: Tensor) -> Tensor:
    """Basis of all displacements as directions, (batch, coordinate, bead, 3)."""
    n = y.shape[1] * y.shape[2]
    return torch.eye(n, dtype=y.dtype).reshape(1, n, *y.shape[1:]).expand(len(y), -1, -1, -1)


def _equations(energy: LinearEnergy, batch: Batch, basis: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows v . grad phi (equation, term) and values -v . T, times sqrt(weight), for random v in the span of `basis`."""

    def terms(y: Tensor) -> Tensor:
        return energy.terms(energy.coordinates(y, batch.sigma), batch.sigma)

    rows, values = [], []
    scale = batch.weight.sqrt()
    for _ in range(_DIRECTIONS):
        mix = torch.randn(basis.shape[:2], generator=generator, dtype=basis.dtype)
        v = torch.einsum("bt,btad->bad", mix, basis)
        v = v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1)
        row = torch.func.jvp(terms, (batch.y,), (v,))[1]
        rows.append(row * scale.unsqueeze(1))
        values.append(-(v * batch.target).sum((1, 2)) * scale)
    return torch.cat(rows), torch.cat(values)

"""Closed-form score matching of the linear energy, a regression per noise width.

With score(y) = -sum_k c_k grad phi_k(y), the least-squares fit to targets T along directions v,

    sum over (y, v) of w(y) [ v . T + sum_k c_k (v . grad phi_k) ]^2  +  penalty * sum_k (c_k - c_k')^2 A_kk / n ,

A = sum w (v . grad phi)(v . grad phi)^T over n equations, has a unique minimum. There are two sorts of directions, all
of unit length: isotropic random ones, and random combinations of rotations about rotatable bonds. Torsional targets are
small and nearly free of noise, isotropic targets are large and noisy; each sort is weighted by the inverse variance of
its residuals, which is found by solving twice.

At small widths c' is the solution at the width before, beginning with the forces of noiseless frames. Coefficients then
change with the width only as far as the targets demand, and the noise of the targets does not add up in the many
directions that they hardly determine. At larger widths c' = 0 (a ridge), and terms with steep inverse powers are left
out, because a negative coefficient that hardly matters on the data would attract colliding atoms without bound, and a
sampler would find such configurations.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from tpsctl.networks.internal_energy.linear import LinearEnergy
from tpsctl.training.targets import NoisedFrames, TargetSource

_DIRECTIONS = 6
"""Number of directions of each sort per structure."""

_CHUNK = 500
_RIDGE = 10.0
_NOISELESS_RIDGE = 0.1
_CONTINUITY = 300.0
_FORCES_KNOWN_BELOW_NM = 0.005
_LEAD_IN = (0.01, 0.25, 0.5)
"""Widths of the lead-in as fractions of the smallest width; at the first, targets are almost the physical forces."""


def set_reference(energy: LinearEnergy, positions: Tensor, *, smallest_width: float = 2e-3) -> None:
    """Set center and scale of the quadratic terms of an energy from clean frames.

    Args:
        energy: Its `center` and `width` are set.
        positions: Clean frames (frame, bead, 3), nm.
        smallest_width: Least scale, in the units of the terms.
    """
    values = energy.coordinates(positions, torch.zeros(len(positions)))
    quadratic = torch.cat((values.distances, values.angles), 1)
    energy.center.copy_(quadratic.mean(0))
    energy.width.copy_(quadratic.std(0).clamp_min(smallest_width))


class LinearFit:
    """The fit of a linear energy, noise width by noise width.

    The widths of the energy are fitted in order. If forces are known, a lead-in of still smaller widths comes before
    them; its solutions are the starting points of the next fit and are not kept.

    Args:
        energy: The energy whose coefficients are fitted. Its `log_sigmas` must be set, and `set_reference` be called
            before the first fit.
        source: Draws noised structures with targets.
        rotations: Torsional directions at y, see `targets.internal_rotations`.
        samples: Number of noised structures per width.

    Attributes:
        solution: Coefficients (term,) at the width that was fitted last, float64; the next fit starts from them.
    """

    def __init__(
        self, energy: LinearEnergy, source: TargetSource, rotations: Callable[[Tensor], Tensor], *, samples: int
    ) -> None:
        self._energy, self._source, self._rotations, self._samples = energy, source, rotations, samples
        self.solution = torch.zeros(energy.n_terms, dtype=torch.float64)

    @cached_property
    def widths_nm(self) -> list[tuple[int, float]]:
        """All widths to fit, in order: the number of the width in the energy (-1 in the lead-in), and the width, nm."""
        ladder = self._energy.log_sigmas.exp().tolist()
        lead_in = [(-1, fraction * ladder[0]) for fraction in _LEAD_IN] if self._source.knows_forces else []
        return [*lead_in, *enumerate(ladder)]

    def fit(self, number: int, generator: torch.Generator, pause: Callable[[], None] = lambda: None) -> list[float]:
        """Fit the width `widths_nm[number]`; the widths before it must be fitted already.

        Args:
            number: Place of the width in `widths_nm`.
            generator: Source of randomness of noise and directions.
            pause: Called every few seconds; if it raises, nothing is changed.

        Returns:
            Explained fractions of the variance of the targets, isotropic and torsional.
        """
        level, sigma = self.widths_nm[number]
        start, penalty, kept = self._regularization(number, sigma)
        sorts = self._accumulate(sigma, generator, pause)
        first = _solve(sorts, [1 / equations.variance for equations in sorts], start, penalty, kept)
        pause()
        weights = [1 / equations.residual_variance(first) for equations in sorts]
        self.solution = _solve(sorts, weights, start, penalty, kept)
        if level >= 0:
            self._energy.coefficients[level] = self.solution.to(self._energy.coefficients.dtype)
        return [1 - equations.residual_variance(self.solution) / equations.variance for equations in sorts]

    def _regularization(self, number: int, sigma: float) -> tuple[Tensor, float, Tensor]:
        """Coefficients c', the strength of the penalty on the distance from them, and a mask of the fitted terms."""
        if sigma > _FORCES_KNOWN_BELOW_NM:
            return torch.zeros_like(self.solution), _RIDGE, self._energy.bounded
        every_term = torch.ones(self._energy.n_terms, dtype=torch.bool)
        if number > 0:
            return self.solution, _CONTINUITY, every_term
        return torch.zeros_like(self.solution), _NOISELESS_RIDGE if self._source.knows_forces else _RIDGE, every_term

    def _accumulate(
        self, sigma: float, generator: torch.Generator, pause: Callable[[], None]
    ) -> list["_NormalEquations"]:
        """Sum up the normal equations at one width, isotropic and torsional."""
        sorts = [_NormalEquations(self._energy.n_terms) for _ in range(2)]
        for _ in range(0, self._samples, _CHUNK):
            batch = self._source.draw(torch.full((_CHUNK,), sigma), generator)
            for equations, directions in zip(sorts, (_isotropic, self._rotations), strict=True):
                pause()
                equations.add(*_equations(self._energy, batch, directions(batch.y), generator, pause))
        return sorts


class _NormalEquations:
    """Sums A = R^T R, b = R^T r and r^T r over the equations R c = r of one sort of directions."""

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
    """Weighted least squares with a penalty on the distance from `start`; terms that are not `kept` are zero."""
    matrix = torch.stack([w * s.matrix for w, s in zip(weights, sorts, strict=True)]).sum(0)[kept][:, kept]
    right = torch.stack([w * s.right for w, s in zip(weights, sorts, strict=True)]).sum(0)[kept]
    strength = matrix.diagonal() / sum(s.count for s in sorts)
    strength = strength + 1e-6 * strength.mean()
    matrix.diagonal().add_(penalty * strength)
    solution = torch.zeros_like(start)
    solution[kept] = torch.linalg.solve(matrix, right + penalty * strength * start[kept])
    return solution


def _isotropic(y: Tensor) -> Tensor:
    """Unit displacements of all coordinates, the basis of isotropic directions, (batch, coordinate, bead, 3)."""
    n = y.shape[1] * y.shape[2]
    return torch.eye(n, dtype=y.dtype).reshape(1, n, *y.shape[1:]).expand(len(y), -1, -1, -1)


def _equations(
    energy: LinearEnergy, batch: NoisedFrames, basis: Tensor, generator: torch.Generator, pause: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """Rows v . grad phi (equation, term) and values -v . T, times sqrt(weight), for random v in the span of `basis`."""

    def terms(y: Tensor) -> Tensor:
        return energy.terms(energy.coordinates(y, batch.sigma), batch.sigma)

    rows, values = [], []
    scale = batch.weight.sqrt()
    for _ in range(_DIRECTIONS):
        pause()
        mix = torch.randn(basis.shape[:2], generator=generator, dtype=basis.dtype)
        v = torch.einsum("bt,btad->bad", mix, basis)
        v = v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1)
        row = torch.func.jvp(terms, (batch.y,), (v,))[1]
        rows.append(row * scale.unsqueeze(1))
        values.append(-(v * batch.target).sum((1, 2)) * scale)
    return torch.cat(rows), torch.cat(values)

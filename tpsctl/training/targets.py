"""Regression targets for the score at every noise width, with as little noise as possible.

For y = x_0 + sigma eps there are two random vectors whose mean over x_0, given y, is the score:

    denoising      d = -(y - x_0) / sigma^2                      (Vincent, Neural Comput. 23 (2011) 1661)
    target score   f = F(x_0) / kT                               (De Bortoli et al., arXiv:2402.08667)

so the mean of d + C (f - d) is the score for every matrix C(y). The noise vanishes for Gaussian data with Hessian H
when C = (I + sigma^2 H)^-1. Here H(y) = J^T P J + h I, with P the precision matrix of the distances q of atoms up to
three bonds apart and J = dq/dy. The floor h is chosen for each sigma so that the second moment of the targets, and
hence their noise, is least. Stiff directions then have denoising targets, and soft directions have the physical force.

Data sampled under a known bias V(cv) are reweighted: with w = exp(V(x_0) / kT), a loss weighted by
w(x_0) / c(y) has the unbiased score as its minimum for any positive c. The mean of w given (cv(y), sigma),
from a histogram, makes the weights close to one wherever the training set reaches, barriers included. Weights
above 100 are cut, which is the only approximation in this correction. Half of each batch is drawn with probability
proportional to w instead, and has weight one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center, dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.score.constant import Constant

_FLOORS_PER_NM2 = (30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5, 1e6, 1e8)
"""Candidates for the floor h, 1/nm^2; with the last one the target is the denoising vector d alone."""

_SMALLEST_SPREAD_NM = 1e-3
"""Least standard deviation, nm, that any combination of distances is given, because distances are redundant."""

_CALIBRATION_SIZE = 400
_LARGEST_WEIGHT = 100.0
_HISTOGRAM_BINS = 30
_MOST_CELLS = 900
"""Bins per collective variable in the table of mean weights, and the largest number of its cells per noise width, which
makes the bins coarser where there are more than two variables."""


@dataclass(frozen=True)
class NoisedFrames:
    """A batch of noised structures with their targets.

    Attributes:
        y: Noised structures (batch, bead, 3), nm.
        sigma: Noise widths (batch,), nm.
        target: Targets for the score (batch, bead, 3), 1/nm.
        weight: Weights of the structures in the loss (batch,).
    """

    y: Tensor
    sigma: Tensor
    target: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.sigma)

    def to(self, device: torch.device) -> "NoisedFrames":
        """The same batch on a device."""
        return NoisedFrames(
            *(part.to(device, non_blocking=True) for part in (self.y, self.sigma, self.target, self.weight))
        )

    def turned(self, generator: torch.Generator) -> "NoisedFrames":
        """The same batch with every structure in a random orientation."""
        q = random_rotations(len(self), generator, self.y.dtype)
        return NoisedFrames(self.y @ q, self.sigma, self.target @ q, self.weight)

    def part(self, first: int, step: int) -> "NoisedFrames":
        """Every `step`-th structure, from the structure `first` on."""
        return NoisedFrames(*(part[first::step] for part in (self.y, self.sigma, self.target, self.weight)))


@dataclass(frozen=True)
class KnownBias:
    """The bias potential V under which data were sampled.

    Attributes:
        log_weights: log w = V(x_0) / kT of every frame, (frame,).
        quadruples: Atoms of the dihedrals that the bias is a function of, (cv, 4); none if it is a function of other
            variables, or if only weights are known.
    """

    log_weights: Tensor
    quadruples: Tensor


class TargetSource:
    """Draws batches of noised frames with targets.

    It has two tables, the mean weights under a bias and the floors of the Hessian, which are made by `prepare` or taken
    over by `restore`. Without bias and forces it needs neither, and can be used at once.

    Args:
        topology: The molecule with its bonds.
        positions: Clean frames (frame, bead, 3), nm.
        scores: Physical force over kT (frame, bead, 3), 1/nm, or None for denoising targets alone.
        bias: The bias under which the frames were sampled, or None.
        log_sigmas: Logarithms of the noise widths in nm at which both tables are made, equally spaced.
    """

    def __init__(
        self,
        topology: Topology,
        positions: Tensor,
        scores: Tensor | None,
        bias: KnownBias | None,
        log_sigmas: Tensor,
    ) -> None:
        self._positions = center(positions)
        self._scores = scores
        self._bias = bias
        near = {
            *topology.bonds,
            *((i, k) for i, _, k in topology.angles),
            *((i, m) for i, _, _, m in topology.torsions),
        }
        self._near = torch.tensor(sorted({(min(pair), max(pair)) for pair in near}))
        lengths = (positions[:, self._near[:, 0]] - positions[:, self._near[:, 1]]).norm(dim=-1)
        covariance = torch.cov(lengths.T.double()) + _SMALLEST_SPREAD_NM**2 * torch.eye(len(self._near))
        self._precision_root = torch.linalg.cholesky(torch.linalg.inv(covariance)).T.to(positions.dtype)
        self._log_sigmas = log_sigmas
        self._rotations = internal_rotations(topology)
        if bias is not None:
            self._cumulative = torch.cumsum(torch.softmax(bias.log_weights.double(), 0), 0)
        self._mean_weight = torch.zeros(0, dtype=torch.float64)
        self._floors = torch.zeros(0, dtype=positions.dtype)

    @property
    def log_sigmas(self) -> Tensor:
        """Logarithms of the noise widths, nm, at which both tables are made."""
        return self._log_sigmas

    @property
    def knows_forces(self) -> bool:
        """Whether the targets use physical forces."""
        return self._scores is not None

    def prepare(self, generator: torch.Generator, pause: Callable[[], None] = lambda: None) -> None:
        """Make the tables; `pause` is called between the noise widths and may raise."""
        if self._bias is not None:
            self._mean_weight = self._tabulate_mean_weight(self._bias, generator, pause)
        if self._scores is not None:
            self._calibrate(generator, pause)

    def store(self) -> dict[str, Tensor]:
        """The two tables by name."""
        return {"mean_weight": self._mean_weight, "floors": self._floors}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over tables that `store` returned, instead of making them."""
        self._mean_weight, self._floors = tensors["mean_weight"], tensors["floors"]

    def draw(self, sigma: Tensor, generator: torch.Generator) -> NoisedFrames:
        """Draw a batch of noised structures with their targets; `sigma` (batch,) are their noise widths, nm."""
        count = len(sigma)
        n_weighted = count // 2 if self._bias is not None else 0
        # The halves are interleaved, so that both have all widths, whatever the order of sigma.
        frames = torch.randint(len(self._positions), (count,), generator=generator)
        weighted = torch.arange(count) % 2 < (1 if n_weighted else 0)
        if self._bias is not None:
            u = torch.rand(count, generator=generator, dtype=torch.float64)
            by_weight = torch.searchsorted(self._cumulative, u * self._cumulative[-1]).clamp_max(
                len(self._positions) - 1
            )
            frames = torch.where(weighted, by_weight, frames)
        x_0 = self._positions[frames]
        y = center(x_0 + sigma.reshape(-1, 1, 1) * _normal(x_0, generator))
        weight = torch.where(weighted, torch.ones_like(sigma), self._weights(frames, y, sigma))
        return NoisedFrames(y, sigma, self._targets(frames, x_0, y, sigma), weight)

    def _targets(self, frames: Tensor, x_0: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        denoising = (x_0 - y) / sigma.square().reshape(-1, 1, 1)
        if self._scores is None:
            return denoising
        floor = self._floors[self._level(sigma)]
        target = denoising.clone()
        mixed = torch.nonzero(floor < _FLOORS_PER_NM2[-1]).squeeze(1)
        difference = (self._scores[frames[mixed]] - denoising[mixed]).flatten(1)
        target[mixed] += self._solve(y[mixed], sigma[mixed], floor[mixed], difference).reshape(-1, *y.shape[1:])
        return target

    def _solve(self, y: Tensor, sigma: Tensor, floor: Tensor, right: Tensor) -> Tensor:
        """(I + sigma^2 H(y))^-1 right."""
        unit = torch.nn.functional.normalize(y[:, self._near[:, 0]] - y[:, self._near[:, 1]], dim=-1)
        jacobian = torch.zeros(len(y), len(self._near), y.shape[1], 3, dtype=y.dtype)
        index = torch.arange(len(self._near))
        jacobian[:, index, self._near[:, 0]] = unit
        jacobian[:, index, self._near[:, 1]] = -unit
        rows = (self._precision_root @ jacobian.flatten(2)) * sigma.reshape(-1, 1, 1)
        matrix = rows.transpose(1, 2) @ rows
        matrix.diagonal(dim1=1, dim2=2).add_((1 + floor * sigma.square()).unsqueeze(1))
        return torch.cholesky_solve(right.unsqueeze(2), torch.linalg.cholesky(matrix)).squeeze(2)

    def _calibrate(self, generator: torch.Generator, pause: Callable[[], None]) -> None:
        """Choose the floor at every width that gives the least product of Cartesian and torsional second moments."""
        self._floors = torch.full((len(self._log_sigmas),), _FLOORS_PER_NM2[-1], dtype=self._positions.dtype)
        for level, log_sigma in enumerate(self._log_sigmas):
            pause()
            sigma = log_sigma.exp().to(self._positions.dtype).expand(_CALIBRATION_SIZE)
            frames = torch.randint(len(self._positions), (_CALIBRATION_SIZE,), generator=generator)
            x_0 = self._positions[frames]
            y = center(x_0 + sigma.reshape(-1, 1, 1) * _normal(x_0, generator))
            twists = self._rotations(y)
            noise = []
            for floor in _FLOORS_PER_NM2:
                self._floors[level] = floor
                target = self._targets(frames, x_0, y, sigma)
                torque = (twists * target.unsqueeze(1)).sum((2, 3))
                noise.append(float(target.square().mean().log() + torque.square().mean(0).log().mean()))
            self._floors[level] = _FLOORS_PER_NM2[noise.index(min(noise))]

    def _weights(self, frames: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        if self._bias is None:
            return torch.ones_like(sigma)
        expected = self._mean_weight[self._cell(y, sigma, self._bias)]
        return (self._bias.log_weights[frames] - expected).exp().clamp_max(_LARGEST_WEIGHT).to(sigma.dtype)

    def _cell(self, y: Tensor, sigma: Tensor, bias: KnownBias) -> tuple[Tensor, ...]:
        angles = dihedral(y, bias.quadruples)
        count = _bins_per_variable(len(bias.quadruples))
        bins = ((angles / (2 * torch.pi) + 0.5) * count).long().clamp(0, count - 1)
        return (self._level(sigma), *bins.unbind(1))

    def _level(self, sigma: Tensor) -> Tensor:
        step = self._log_sigmas[1] - self._log_sigmas[0]
        return ((sigma.log() - self._log_sigmas[0]) / step).round().long().clamp(0, len(self._log_sigmas) - 1)

    def _tabulate_mean_weight(self, bias: KnownBias, generator: torch.Generator, pause: Callable[[], None]) -> Tensor:
        """Logarithm of the mean of w in each cell (level, cv bin, ...); empty cells get the mean over all frames."""
        variables = len(bias.quadruples)
        shape = (len(self._log_sigmas), *[_bins_per_variable(variables)] * variables)
        total, count = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        weights = bias.log_weights.double().exp()
        overall = weights.mean()
        for log_sigma in self._log_sigmas:
            pause()
            sigma = log_sigma.exp().to(self._positions.dtype).expand(len(self._positions))
            y = self._positions + sigma.reshape(-1, 1, 1) * _normal(self._positions, generator)
            cell = self._cell(y, sigma, bias)
            total.index_put_(cell, weights, accumulate=True)
            count.index_put_(cell, torch.ones_like(weights), accumulate=True)
        return ((total + 1e-6 * overall) / (count + 1e-6)).log()


def _bins_per_variable(variables: int) -> int:
    return _HISTOGRAM_BINS if variables <= 2 else max(3, math.floor(_MOST_CELLS ** (1 / variables)))


def random_rotations(count: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "count 3 3"]:
    """Rotations, uniform over all of them."""
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=dtype))
    q = q * torch.sign(r.diagonal(dim1=1, dim2=2)).unsqueeze(1)  # uniform over all rotations and reflections
    return q * torch.sign(torch.linalg.det(q)).reshape(-1, 1, 1)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


def internal_rotations(topology: Topology) -> Callable[[Tensor], Tensor]:
    """The map from structures to unit rotations about every rotatable bond.

    It takes y (batch, bead, 3), nm, to the displacements per rad of all beads, (batch, bond, bead, 3), nm.
    """
    bonds = torch.tensor(topology.rotatable_bonds).reshape(-1, 2)
    first, second = Constant(bonds[:, 0].contiguous()), Constant(bonds[:, 1].contiguous())
    moves = torch.zeros(1, len(bonds), topology.n_atoms, 1)
    for n, (j, k) in enumerate(topology.rotatable_bonds):
        moves[0, n, sorted(topology.branch(k, without=j))] = 1
    moved = Constant(moves)

    def rotations(y: Tensor) -> Tensor:
        origin = y[:, first.on(y.device)]
        axis = torch.nn.functional.normalize(y[:, second.on(y.device)] - origin, dim=-1)
        arms = y.unsqueeze(1) - origin.unsqueeze(2)
        return torch.linalg.cross(axis.unsqueeze(2).expand_as(arms), arms) * moved.like(y)

    return rotations

"""Energy of a chain of beads that is a sum over all pairs, and over all bond angles, linear in its parameters.

    U(r; sigma) = sum_p [ a_p z_p + b_p z_p^2 + sum_k c_pk exp(-(r_p - m_pk)^2 / (2 w_pk^2)) ]

with z_p = (r_p - mean_p) / std_p. What is said of a pair and its distance here holds for an angle, in rad, as well. The
parameters a, b, c, the mean and the spread of every distance, and the centers m of its Gaussians belong to a noise
width sigma; between the widths of the tables they are interpolated in log sigma. The centers are quantiles of the
noised distance, so that a narrow peak (a native contact) gets as many Gaussians as a broad one of the same weight; each
Gaussian is as wide as the gap to its neighbors, but not narrower than a fraction of the distance's spread. A native
contact is a tenth as wide as the spread of its distance, so this fraction must be small. Because U is linear in a, b
and c, score matching has a closed-form solution at each width (`tpsctl.training.pair_fit`).

Any Gaussian density of the positions is in the span of the quadratic terms: sum_ij y_i L_ij y_j with sum_j L_ij = 0
equals -sum_(i<j) L_ij |y_i - y_j|^2.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.networks.internal_energy.linear import interpolate

SMALLEST_SPREAD_NM = 2e-3
"""Least standard deviation of a distance in the tables, nm."""

COARSE, FINE = 4, 20
"""Resolution of models of earlier versions, and of those that are trained now."""

_OUTERMOST = 0.02
"""Quantile of the outermost centers of Gaussians."""


@dataclass(frozen=True)
class PairTables:
    """The tables of a pair energy at one noise width, or at one for each structure of a batch.

    Attributes:
        mean, std: Mean and spread of every distance, nm.
        linear, square: Coefficients of z and z^2, kT.
        centers, widths: Centers and widths of the Gaussians, nm.
        heights: Their coefficients, kT.
    """

    mean: Float[Tensor, "batch_or_1 pair"]
    std: Float[Tensor, "batch_or_1 pair"]
    linear: Float[Tensor, "batch_or_1 pair"]
    square: Float[Tensor, "batch_or_1 pair"]
    centers: Float[Tensor, "batch_or_1 pair gaussian"]
    widths: Float[Tensor, "batch_or_1 pair gaussian"]
    heights: Float[Tensor, "batch_or_1 pair gaussian"]

    def energy(self, distances: Float[Tensor, "batch pair"]) -> Float[Tensor, " batch"]:
        """U in kT."""
        z = self.normalized(distances)
        return ((self.linear + self.square * z) * z + self.wells(distances)).sum(1)

    def normalized(self, distances: Float[Tensor, "batch pair"]) -> Float[Tensor, "batch pair"]:
        """z of every distance."""
        return (distances - self.mean) / self.std

    def wells(self, distances: Float[Tensor, "batch pair"]) -> Float[Tensor, "batch pair"]:
        """The Gaussians of every pair, kT: where the distance has narrow wells, e.g. of a native contact."""
        return (self.heights * (-0.5 * self._reduced(distances).square()).exp()).sum(2)

    def rate(self, distances: Float[Tensor, "batch pair"]) -> Float[Tensor, "batch pair"]:
        """Derivative of U with respect to every distance, kT/nm."""
        return self.quadratic_slopes(distances)[0] + self.well_slopes(distances)[1]

    def quadratic_slopes(
        self, distances: Float[Tensor, "batch pair"]
    ) -> tuple[Float[Tensor, "batch pair"], Float[Tensor, "batch_or_1 pair"]]:
        """First and second derivative of the quadratic of every pair, kT/nm and kT/nm^2."""
        once = (self.linear + 2 * self.square * self.normalized(distances)) / self.std
        return once, 2 * self.square / self.std.square()

    def well_slopes(self, distances: Float[Tensor, "batch pair"]) -> tuple[Tensor, Tensor, Tensor]:
        """The wells with their first and second derivatives, each (batch, pair), kT, kT/nm and kT/nm^2."""
        reduced = self._reduced(distances)
        bells = self.heights * (-0.5 * reduced.square()).exp()
        steep = bells / self.widths
        return bells.sum(2), -(steep * reduced).sum(2), (steep * (reduced.square() - 1) / self.widths).sum(2)

    def slopes(self, distances: Float[Tensor, "batch pair"]) -> Float[Tensor, "batch pair term"]:
        """Derivatives of all terms of a pair with respect to its distance, 1/nm."""
        z, reduced = self.normalized(distances), self._reduced(distances)
        bells = -reduced / self.widths * (-0.5 * reduced.square()).exp()
        inverse = (1 / self.std).unsqueeze(2)
        return torch.cat((inverse.expand(*z.shape, 1), 2 * z.unsqueeze(2) * inverse, bells), 2)

    def _reduced(self, distances: Tensor) -> Tensor:
        """(r - m) / w of every Gaussian."""
        return (distances.unsqueeze(2) - self.centers) / self.widths


class PairEnergy(nn.Module):
    """The energy, in kT, with tables at a set of noise widths.

    Args:
        n_pairs: Number of pairs.
        levels: Number of noise widths in the tables.
        gaussians: Number of Gaussians per pair, at least 2.
        resolution: Standard deviation of a distance in units of the least width of its Gaussians.
    """

    log_sigmas: Tensor
    mean: Tensor
    std: Tensor
    centers: Tensor
    coefficients: Tensor

    def __init__(self, n_pairs: int, levels: int, gaussians: int, resolution: int) -> None:
        super().__init__()
        self._resolution = resolution
        self.register_buffer("log_sigmas", torch.zeros(levels))
        self.register_buffer("mean", torch.zeros(levels, n_pairs))
        self.register_buffer("std", torch.ones(levels, n_pairs))
        self.register_buffer("centers", torch.linspace(0, 1, gaussians).expand(levels, n_pairs, -1).clone())
        self.register_buffer("coefficients", torch.zeros(levels, n_pairs, 2 + gaussians))

    def set_level(self, level: int, distances: Float[Tensor, "sample pair"]) -> None:
        """Set mean, spread and centers of one noise width from noised distances, nm."""
        self.mean[level] = distances.mean(0)
        self.std[level] = distances.std(0).clamp_min(SMALLEST_SPREAD_NM)
        quantiles = torch.linspace(_OUTERMOST, 1 - _OUTERMOST, self.centers.shape[2], dtype=distances.dtype)
        self.centers[level] = torch.quantile(distances, quantiles, dim=0).T

    def at(self, table: Float[Tensor, "level *rest"], sigma: Float[Tensor, " batch_or_1"]) -> Tensor:
        """A table at noise widths sigma, nm."""
        return interpolate(self.log_sigmas, table.flatten(1), sigma).unflatten(1, table.shape[1:])

    def tables(self, sigma: Float[Tensor, " batch_or_1"]) -> PairTables:
        """All tables at noise widths sigma, nm."""
        mean, std, centers = (self.at(table, sigma) for table in (self.mean, self.std, self.centers))
        gaps = centers.diff(dim=2)
        widths = torch.cat((gaps[:, :, :1], (gaps[:, :, 1:] + gaps[:, :, :-1]) / 2, gaps[:, :, -1:]), 2)
        widths = torch.maximum(widths, std.unsqueeze(2) / self._resolution)
        coefficients = self.at(self.coefficients, sigma)
        return PairTables(
            mean, std, coefficients[:, :, 0], coefficients[:, :, 1], centers, widths, coefficients[:, :, 2:]
        )

    def forward(
        self, distances: Float[Tensor, "batch pair"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        """U in kT."""
        return self.tables(sigma).energy(distances)

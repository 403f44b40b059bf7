"""Guidance along the paths of a few structures to noise, by a kernel density that follows them.

The probability-flow ODE carries each guide g_k from data to noise, dy = -s score dlog(s). At width s the guides' points
g_k(s) define a density of Gaussian kernels with the bandwidth b in x = alpha y, and the guidance is its score,

    potential = a(s) log sum_k exp(-alpha^2 d_k(y)^2 / (2 b(s)^2)) ,

where d_k is the distance from y to g_k(s): after superposition, as published, or in torsions (`metrics`), where b is an
angle and alpha is left out.

Source: arXiv:2505.13375.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.guidance.base import PotentialGuide, Strength
from tpsctl.score.guidance.metrics import KernelMetric
from tpsctl.score.likelihood import Diffusion


def flow_to_noise(
    law: Diffusion, y: Float[Tensor, "guide bead dim"], widths: list[float]
) -> Float[Tensor, "width guide bead dim"]:
    """The probability-flow trajectories of clean configurations, at ascending noise widths, by Runge-Kutta steps."""
    y = center(y) if law.centered else y
    found = [y]
    for here, there in zip(widths[:-1], widths[1:], strict=True):
        h, middle = math.log(there / here), (here * there) ** 0.5
        k1 = _rate(law, y, here)
        k2 = _rate(law, y + h / 2 * k1, middle)
        k3 = _rate(law, y + h / 2 * k2, middle)
        k4 = _rate(law, y + h * k3, there)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found.append(y)
    return torch.stack(found)


class KernelGuide(PotentialGuide):
    """The score of a kernel density over guides that move with the noise width.

    Args:
        widths: Ascending noise widths.
        points: The guides at each of them (`flow_to_noise`).
        strength: a(s).
        bandwidth: The bandwidth in y, in the unit of the metric: b(s) / alpha(s), or an angle.
        metric: How near configurations are to guides.
    """

    def __init__(
        self,
        widths: list[float],
        points: Float[Tensor, "width guide bead dim"],
        *,
        strength: Strength,
        bandwidth: Callable[[float], float],
        metric: KernelMetric,
    ) -> None:
        self._log_widths = torch.tensor(widths, dtype=torch.float64).log()
        self._points = points
        self._strength, self._bandwidth, self._metric = strength, bandwidth, metric

    def potential(self, y: Tensor, width: float) -> Tensor:
        squared = self._metric.squared(y, self.guides_at(width).to(y))
        return self._strength(width) * torch.logsumexp(-squared / (2 * self._bandwidth(width) ** 2), 1)

    def guides_at(self, width: float) -> Float[Tensor, "guide bead dim"]:
        """The guides at a width, interpolated linearly in its logarithm; the nearest ones outside of the range."""
        place = math.log(width)
        k = int((torch.searchsorted(self._log_widths, place) - 1).clamp(0, len(self._log_widths) - 2))
        low, high = self._log_widths[k : k + 2].tolist()
        fraction = min(max((place - low) / (high - low), 0.0), 1.0)
        return (1 - fraction) * self._points[k] + fraction * self._points[k + 1]


def _rate(law: Diffusion, y: Tensor, width: float) -> Tensor:
    return -(width**2) * law.score_at(width)(y)

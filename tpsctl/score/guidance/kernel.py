"""Guidance along the paths of a few structures to noise, by a kernel density that follows them.

The probability-flow ODE carries each guide g_k from data to noise, dy = -s score dlog(s). At width s the guides' points
g_k(s) define a density of Gaussian kernels with the bandwidth b in x = alpha y, and the guidance is its score,

    potential = a(s) log sum_k exp(-alpha^2 d_k(y)^2 / (2 b(s)^2)) ,

where d_k is the distance from y to the superposed g_k(s): the least over rotations, and over translations for centered
configurations. Since d_k^2 = |y|^2 + |g_k|^2 - 2 (c_1 + c_2 +- c_3) with the singular values c of g_k^T y, no rotation
has to be differentiated.

Source: arXiv:2505.13375; Kabsch, Acta Cryst. A 32 (1976) 922 (the sign is that of the determinant).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.guidance.base import PotentialGuide, Strength
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
        bandwidth: b(s) / alpha(s), the bandwidth in y, in the length unit.
        superposed: Whether configurations are molecules, which are centered and may turn.
    """

    def __init__(
        self,
        widths: list[float],
        points: Float[Tensor, "width guide bead dim"],
        *,
        strength: Strength,
        bandwidth: Callable[[float], float],
        superposed: bool,
    ) -> None:
        self._log_widths = torch.tensor(widths, dtype=torch.float64).log()
        self._points = center(points) if superposed else points
        self._strength, self._bandwidth, self._superposed = strength, bandwidth, superposed

    def potential(self, y: Tensor, width: float) -> Tensor:
        squared = squared_distances(y, self.guides_at(width).to(y), superposed=self._superposed)
        return self._strength(width) * torch.logsumexp(-squared / (2 * self._bandwidth(width) ** 2), 1)

    def guides_at(self, width: float) -> Float[Tensor, "guide bead dim"]:
        """The guides at a width, interpolated linearly in its logarithm; the nearest ones outside of the range."""
        place = math.log(width)
        k = int((torch.searchsorted(self._log_widths, place) - 1).clamp(0, len(self._log_widths) - 2))
        low, high = self._log_widths[k : k + 2].tolist()
        fraction = min(max((place - low) / (high - low), 0.0), 1.0)
        return (1 - fraction) * self._points[k] + fraction * self._points[k + 1]


def squared_distances(
    y: Float[Tensor, "batch bead dim"], guides: Float[Tensor, "guide bead dim"], *, superposed: bool
) -> Float[Tensor, "batch guide"]:
    """Squared distances, summed over coordinates; of molecules after superposition without reflection."""
    if not superposed:
        return (y.unsqueeze(1) - guides).square().sum((2, 3))
    y, guides = center(y), center(guides)
    covariance = torch.einsum("nai,gaj->ngij", y, guides)
    overlap = torch.linalg.svdvals(covariance)
    handedness = torch.linalg.det(covariance.detach()).sign().unsqueeze(-1)  # constant wherever it has a gradient
    handed = torch.cat((overlap[..., :2], overlap[..., 2:] * handedness), -1)
    sizes = y.square().sum((1, 2)).unsqueeze(1) + guides.square().sum((1, 2))
    return (sizes - 2 * handed.sum(-1)).clamp_min(0)


def _rate(law: Diffusion, y: Tensor, width: float) -> Tensor:
    return -(width**2) * law.score_at(width)(y)

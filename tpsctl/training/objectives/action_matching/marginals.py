"""The marginals q_t that Action Matching learns to connect: where a batch gets its points at 0, t and 1 from.

All three points of a draw belong to the same pair of ends. The loss then varies less than with independent draws,
because s(x_0, 0) - s(x_1, 1) and the integral of ds/dt along the way from one to the other nearly cancel.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.schedule import NoiseSchedule


class Marginals(ABC):
    """Samples of a family of distributions q_t, t in [0, 1].

    Attributes:
        dims: Number of coordinates of a point.
    """

    dims: int

    @abstractmethod
    def draw(
        self, t: Float[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]:
        """Coupled samples of q_0, q_t and q_1, float32, each of shape (batch, ...)."""

    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """The data, for the fingerprint of a run."""


class NoiseToData(Marginals):
    """The affine Gaussian path from noise (time 0) to data (time 1): x = alpha y + sigma eps at t = 1 - time.

    Args:
        points: Data y (count, dim), float32.
        schedule: alpha and sigma, in the unit of the data.
    """

    def __init__(self, points: Tensor, schedule: NoiseSchedule) -> None:
        self.dims = points.shape[1]
        self._points, self._schedule = points, schedule

    def draw(self, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        clean = self._points[torch.randint(len(self._points), (len(t),), generator=generator)]
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        first, middle, last = (self._mixed(clean, noise, 1 - time) for time in (0 * t, t, 0 * t + 1))
        return first, middle, last

    def tensors(self) -> tuple[Tensor, ...]:
        return (self._points,)

    def _mixed(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self._schedule.alpha(t).to(clean), self._schedule.sigma(t).to(clean)
        return alpha.unsqueeze(-1) * clean + sigma.unsqueeze(-1) * noise

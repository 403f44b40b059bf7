"""Probability flow from noise to data by the midpoint rule."""

import torch
from torch import Tensor

from tpsctl.prior.conversions.velocity import VelocityOutput
from tpsctl.prior.samplers.base import NetworkUnitSampler


class FlowSampler(NetworkUnitSampler):
    """Integrates the velocity of a network from noise to data; only the starting point is random.

    Args:
        output: The network.
    """

    def __init__(self, output: VelocityOutput) -> None:
        super().__init__(output)

    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        h, clock = t / steps, 1 - t
        for _ in range(steps):
            middle = y + 0.5 * h * self._field(y, clock).detach()
            y = self._field.gauge(y + h * self._field(middle, clock + 0.5 * h).detach())
            clock += h
        return y

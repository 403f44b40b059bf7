"""Transport from noise to data along the gradient of an Action Matching potential, with or without noise."""

import torch
from torch import Tensor

from tpsctl.prior.conversions.potential import PotentialOutput
from tpsctl.prior.samplers.base import NetworkUnitSampler
from tpsctl.score.transport import carry, diffuse, even_times


class TransportSampler(NetworkUnitSampler):
    """Integrates dy = grad s dtime + c dW from noise to data; without noise only the starting point is random.

    Args:
        output: The network, with c.
    """

    def __init__(self, output: PotentialOutput) -> None:
        super().__init__(output)
        self._potential, self._noise = output.field.network, output.noise

    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        times, points = even_times(1 - t, 1.0, steps), y.squeeze(1)
        if self._noise == 0:
            return carry(self._potential, points, times)[0].unsqueeze(1)
        return diffuse(self._potential, points, times, self._noise, generator, shared=shared_noise)[0].unsqueeze(1)

"""Noise and samples of a Schroedinger bridge: its two processes, in Euler-Maruyama steps."""

import torch
from torch import Tensor

from tpsctl.prior.conversions.bridge import BridgeOutput
from tpsctl.prior.samplers.base import NetworkUnitSampler
from tpsctl.score.bridge import carry

_STEPS_TO_NOISE = 100
"""Number of steps from data to noise."""


class BridgeSampler(NetworkUnitSampler):
    """Carries points towards noise and towards data.

    Args:
        output: The network.
    """

    def __init__(self, output: BridgeOutput) -> None:
        super().__init__(output)
        self._network = output.field.network

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        times = torch.linspace(0, t, max(2, round(_STEPS_TO_NOISE * t) + 1)).tolist()
        y = self._units.to_network(x).to(self._field.like).squeeze(1)
        noised = carry(self._network.to_noise, y, times, self._network.sizes.noise, generator)
        return self._units.from_network(noised.unsqueeze(1).to(x))

    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        times = torch.linspace(t, 0, steps + 1).tolist()
        drift, noise = self._network.to_data, self._network.sizes.noise
        return carry(drift, y.squeeze(1), times, noise, generator, shared_noise=shared_noise).unsqueeze(1)

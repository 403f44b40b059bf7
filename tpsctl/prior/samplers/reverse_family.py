"""The reverse process over geometrically decreasing noise widths, for a network in its own unit of length."""

import torch
from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.prior.samplers.base import NetworkUnitSampler
from tpsctl.score.reverse_process import geometric_widths, reverse


class ReverseFamilySampler(NetworkUnitSampler):
    """Noise and samples for a network that gives the score of y = x_t / alpha at every noise width.

    Args:
        output: The network.
        kappa: Strength of the noise of the steps, from 1 (stochastic) to 0 (the probability-flow ODE).
    """

    def __init__(self, output: OutputConversion, *, kappa: float = 1.0) -> None:
        super().__init__(output)
        self._kappa = kappa

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        y = self._schedule.coefficients(1.0)[1] * self._field.gauge(self._normal(count, generator))
        return self.denoise(self._units.from_network(y), 1.0, generator, steps=steps)

    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        alpha, sigma = self._schedule.coefficients(t)
        width = min(self._schedule.width(t), self._output.largest_width)
        if width <= self._field.smallest_width:
            return y / alpha
        y = y * (width / sigma)  # y / alpha, or noise of the largest width where no data are left
        return reverse(
            lambda y, width: self._output.relative_score(y, width).detach(),
            y,
            geometric_widths(width, self._field.smallest_width, steps),
            generator,
            shared_noise=shared_noise,
            kappa=self._kappa,
            centered=self._field.centered,
        )

"""The score of a network that predicts noise and sees noise widths, so that it serves every schedule:

    eps_hat = f(z, log(r)/4) ,  z = y / (1 + r^2)^(1/2) ,      score(y, t) = -eps_hat / (r(t) scale)

with y = x_t / alpha and r = sigma / alpha in the network's own unit of length, the spread of the data. As for an
energy, positions at the interface are y: data plus noise of width r, not x_t.

Source: Karras et al., arXiv:2206.00364, table 1 (input and clock).
"""

import math

from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.score.conversions import score_from_noise, width_input


class WidthNoiseOutput(OutputConversion):
    """A network whose output is the noise in y."""

    def score(self, x: Tensor, t: float) -> Tensor:
        return self.relative_score(self.units.to_network(x), self.schedule.width(t)) / self.units.scale_like(x)

    def relative_score(self, y: Tensor, width: float) -> Tensor:
        return score_from_noise(self.field(width_input(y, width), math.log(width) / 4), width)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        """E (1 + r^2)^(1/2) / r, because the noise estimate is -dE/dz."""
        width = self.schedule.width(t)
        energy = self.field.energy(width_input(self.units.to_network(x), width), math.log(width) / 4)
        return None if energy is None else energy * (1 + width**2) ** 0.5 / width

    def noise_in_noise(self, z: Tensor) -> Tensor:
        width = self.largest_width
        return -width * self.relative_score(width * self.field.gauge(z), width).detach()

"""The score of a flow-matching network, whose output is the velocity f(y, s) towards data; s = 1 - t.

tpsctl's velocity u = -f belongs to increasing t, that is towards noise. With the straight interpolant it gives

    eps_hat = y - (1 - t) f(y, 1 - t) .
"""

import torch
from torch import Tensor

from tpsctl.prior.conversions.base import NoiseEstimate
from tpsctl.score.conversions import noise_from_velocity


class VelocityOutput(NoiseEstimate):
    """A network whose output is the velocity towards data."""

    def noise_estimate(self, y: Tensor, t: float) -> Tensor:
        time = torch.tensor(t, dtype=torch.float64)
        return noise_from_velocity(self.field.gauge(y), -self.field(y, 1 - t), self.schedule, time)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        """-(|y|^2 / 2 + (1 - t) E) / sigma; with f = -dE/dy, eps_hat is the gradient of the bracket."""
        y = self.field.gauge(self.units.to_network(x))
        energy = self.field.energy(y, 1 - t)
        if energy is None:
            return None
        return -(y.square().sum((1, 2)) / 2 + (1 - t) * energy) / self.schedule.coefficients(t)[1]

    def noise_in_noise(self, z: Tensor) -> Tensor:
        """The negative velocity at t = 1: the velocity is data minus noise, and the data's part averages to 0."""
        return -self.field(self.field.gauge(z), 0.0)

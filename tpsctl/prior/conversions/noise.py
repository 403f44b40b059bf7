"""The score of a network whose output is the noise, eps_hat = f(y, t).

The clock of the network is t; for a schedule of discrete levels, t is level / levels.
"""

from torch import Tensor

from tpsctl.prior.conversions.base import NoiseEstimate


class NoiseOutput(NoiseEstimate):
    """A network whose output is the noise in y."""

    def noise_estimate(self, y: Tensor, t: float) -> Tensor:
        return self.field(y, t)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        """E / sigma, because the noise estimate is -dE/dy."""
        energy = self.field.energy(self.field.gauge(self.units.to_network(x)), t)
        return None if energy is None else energy / self.schedule.coefficients(t)[1]

    def noise_in_noise(self, z: Tensor) -> Tensor:
        return self.noise_estimate(self.field.gauge(z), 1.0)

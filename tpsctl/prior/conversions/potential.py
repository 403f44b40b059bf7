"""The score of an Action Matching network, a potential s(y, time) with time = 1 - t from noise (0) to data (1).

Without noise, grad s is the velocity of the probability flow towards data. With noise of strength c it is the drift of
dy = grad s dtime + c dW, which has the same marginals, so that grad s is the velocity plus c^2/2 score. On the path
y_t = alpha y_0 + sigma eps the velocity is itself a function of the score (`tpsctl.score.conversions`), and both give

    score = (alpha grad s + alpha' y) / (sigma (alpha sigma' - alpha' sigma) + alpha c^2 / 2) ,

where primes are derivatives by t. The denominator is above 0 for every t > 0 and, with noise, at t = 0 too.

Source: Neklyudov et al., arXiv:2210.06662, eqs. 5 and 13; Song et al., arXiv:2011.13456, eq. 13.
"""

import torch
from torch import Tensor

from tpsctl.prior.conversions.base import NoiseEstimate
from tpsctl.prior.fields.potential_perceptron import PotentialPerceptronField
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.schedule import NoiseSchedule


class PotentialOutput(NoiseEstimate):
    """A network whose output is the gradient of an Action Matching potential.

    Args:
        field: grad s.
        schedule: Noise schedule of the path that it was trained on, in the network's own unit of length.
        units: The network's unit of length and its origin, nm.
        noise: c, in the network's own unit of length per square root of the unit of t; 0 for no noise.
    """

    field: PotentialPerceptronField

    def __init__(
        self, field: PotentialPerceptronField, schedule: NoiseSchedule, units: NetworkUnits, *, noise: float
    ) -> None:
        super().__init__(field, schedule, units)
        self.noise = noise

    def noise_estimate(self, y: Tensor, t: float) -> Tensor:
        alpha, alpha_dot, sigma, denominator = self._coefficients(t)
        return -sigma / denominator * (alpha * self.field(y, 1 - t) + alpha_dot * y)

    def log_density(self, x: Tensor, t: float) -> Tensor:
        """(alpha s + alpha' |y|^2 / 2) / denominator, whose gradient is the score where every unit of y is as long."""
        alpha, alpha_dot, _, denominator = self._coefficients(t)
        y = self.units.to_network(x)
        return (alpha * self.field.potential(y, 1 - t) + alpha_dot / 2 * y.square().sum((1, 2))) / denominator

    def noise_in_noise(self, z: Tensor) -> Tensor:
        """Minus grad s at t = 1 where, but for the mean of the data, it is -(1 + c^2 / 2) times the noise."""
        return -self.field(z, 0.0) / (1 + self.noise**2 / 2)

    def _coefficients(self, t: float) -> tuple[float, float, float, float]:
        """alpha, alpha', sigma and the denominator of the score."""
        time = torch.tensor(t, dtype=torch.float64)
        of = self.schedule
        alpha, alpha_dot, sigma, sigma_dot = (
            float(value(time)) for value in (of.alpha, of.alpha_dot, of.sigma, of.sigma_dot)
        )
        return (
            alpha,
            alpha_dot,
            sigma,
            sigma * (alpha * sigma_dot - alpha_dot * sigma) + alpha * self.noise**2 / 2,
        )

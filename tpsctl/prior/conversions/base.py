"""Conversions of a network's output to a score: one file for each meaning that an output can have."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from tpsctl.prior.field import Field
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.conversions import score_from_noise
from tpsctl.score.schedule import NoiseSchedule


class OutputConversion(ABC):
    """Computes the score at diffusion time t from the output of a field.

    Args:
        field: The network.
        schedule: Noise schedule, in the network's own unit of length.
        units: The network's unit of length and its origin, nm.
    """

    def __init__(self, field: Field, schedule: NoiseSchedule, units: NetworkUnits) -> None:
        self.field, self.schedule, self.units = field, schedule, units

    @abstractmethod
    def score(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch bead dim"]:
        """Score at x (nm), 1/nm; differentiable if x is."""

    @abstractmethod
    def log_density(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, " batch"] | None:
        """log p_t(x) up to a constant, x in nm; None if the network has no energy."""

    @abstractmethod
    def noise_in_noise(self, z: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch bead dim"]:
        """The network's estimate of the noise in pure noise z of unit width; a trained one returns about z itself."""

    def jacobian(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch n n"] | None:
        """Dense Jacobian of the score at x (nm), 1/nm^2, n = bead x dim.

        None if the network has no formula for it that is faster than one product with each unit vector.
        """
        return None


class NoiseEstimate(OutputConversion):
    """A conversion that uses the network's estimate eps_hat of the noise in y = (x - offset) / scale:

        score(x, t) = -eps_hat(y, t) / (sigma_t scale)

    x is not divided by alpha: at the small t of path sampling alpha is nearly 1 (1 - sigma^2/2), and the published
    models were used in this way (Raja et al., arXiv:2504.18506). For molecules, y has its center of mass removed.
    """

    @abstractmethod
    def noise_estimate(self, y: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch bead dim"]:
        """eps_hat at positions y in the network's own unit of length."""

    def score(self, x: Tensor, t: float) -> Tensor:
        noise = self.noise_estimate(self.units.to_network(x), t)
        return score_from_noise(noise, self.schedule.coefficients(t)[1] * self.units.scale_like(x))

"""How the output of a field becomes a score: one file for each meaning that an output can have."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from tpsctl.prior.field import Field
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.conversions import score_from_noise
from tpsctl.score.schedule import NoiseSchedule


class OutputConversion(ABC):
    """Score at diffusion time t from the output of a field.

    Args:
        field: The network.
        schedule: What diffusion time means, in the network's own length.
        units: The network's length and origin in nm.
    """

    def __init__(self, field: Field, schedule: NoiseSchedule, units: NetworkUnits) -> None:
        self.field, self.schedule, self.units = field, schedule, units

    @abstractmethod
    def score(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch bead dim"]:
        """Score at x (nm), 1/nm; differentiable if x is."""

    @abstractmethod
    def log_density(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, " batch"] | None:
        """log p_t(x) up to a constant, where the network has an energy."""

    @abstractmethod
    def noise_in_noise(self, z: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch bead dim"]:
        """The noise that the network sees in pure noise z of unit width: z itself, if it was trained."""

    def jacobian(self, x: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch n n"] | None:
        """Dense derivative of the score at x, 1/nm^2, where there is a formula that is faster than products."""
        return None


class NoiseEstimate(OutputConversion):
    """A conversion by way of the noise eps_hat that the network sees in y = (x - offset) / scale:

        score(x, t) = -eps_hat(y, t) / (sigma_t scale)

    x is used as it is, not divided by alpha: at the small t of path sampling alpha is 1 - sigma^2/2, and this is the
    protocol that models were published with (Raja et al., arXiv:2504.18506). Networks of molecules see y centered.
    """

    @abstractmethod
    def noise_estimate(self, y: Float[Tensor, "batch bead dim"], t: float) -> Float[Tensor, "batch bead dim"]:
        """eps_hat at positions in the network's own length."""

    def score(self, x: Tensor, t: float) -> Tensor:
        noise = self.noise_estimate(self.units.to_network(x), t)
        return score_from_noise(noise, self.schedule.coefficients(t)[1] * self.units.scale_like(x))

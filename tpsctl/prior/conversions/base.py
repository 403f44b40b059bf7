"""Conversions of a network's output to a score: one file for each meaning that an output can have."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.prior.field import Field
from tpsctl.prior.units import NetworkUnits
from tpsctl.score.conversions import score_from_noise
from tpsctl.score.schedule import NoiseSchedule

_PURE_NOISE = 100.0
"""Relative noise width, in the network's own unit of length, beside which data are not seen any more."""


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

    def relative_score(self, y: Float[Tensor, "batch bead dim"], width: float) -> Float[Tensor, "batch bead dim"]:
        """Score of y = x_t / alpha where the noise has the relative width sigma / alpha; differentiable if y is.

        Everything is in the network's own unit of length; y is data plus noise of this width, whatever the schedule.

        Raises:
            PriorError: The network's law at time t is not that of data plus Gaussian noise.
        """
        raise PriorError(
            "this network does not give the score of data with Gaussian noise, so tpsctl has no density for it. Use a "
            "prior of kind diffusion, score_matching or flow_matching."
        )

    def relative_jacobian(self, y: Float[Tensor, "batch bead dim"], width: float) -> Float[Tensor, "batch n n"] | None:
        """Dense Jacobian of `relative_score`; None where the network has no formula for it."""
        return None

    @property
    def data_spread(self) -> float:
        """Standard deviation of the data in a coordinate, in the network's own unit of length; 0 if it is unknown."""
        return 1.0

    @property
    def largest_width(self) -> float:
        """Largest relative noise width in use, in the network's own unit of length."""
        return min(self.schedule.width(1.0), _PURE_NOISE)

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

    def relative_score(self, y: Tensor, width: float) -> Tensor:
        t = float(self.schedule.time_of(torch.tensor(width, dtype=torch.float64)))
        return score_from_noise(self.noise_estimate(self.schedule.coefficients(t)[0] * y, t), width)

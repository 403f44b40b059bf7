"""How much an error of the score counts at each noise width: the interface, and the weights of the action principle.

Denoising of an energy lets every width count alike (`tpsctl.training.objectives.energy_denoising`). Other objectives
are the same regression with other weights. With x_t = alpha x_0 + sigma eps, y = x_t / alpha, and times t drawn with
the density q, the score-matching loss

    1/2 int w(t) E |s(x_t, t) - grad log p_t|^2 dt   is   E_q [ w(t) / (2 q(t) alpha^2) |error of the score of y|^2 ] .

The weight w = g^2 ("likelihood") makes it the excess of a bound of -log p, in nats; w = sigma^2 ("simple") makes it
half the mean squared error of the predicted noise. Where sigma grows geometrically, g^2 and sigma^2 are proportional,
and both are the same training.

Source: arXiv:2310.04490 and Song et al., arXiv:2101.09258 (likelihood weight); Ho et al., arXiv:2006.11239, eq. 14.
"""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor

from tpsctl.training.times import WEIGHTS, TimeLaw


class ErrorWeights(ABC):
    """Squared errors of the score that count one, by noise width."""

    @property
    @abstractmethod
    def facts(self) -> list[Any]:
        """What the weights depend on, as plain values, for a fingerprint."""

    @abstractmethod
    def unit(self, sigma: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The squared error in a coordinate, 1/nm^2, that counts one at noise widths, nm."""

    def __call__(
        self, sigma: Float[Tensor, " batch"], rotations: Float[Tensor, "batch bond bead 3"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch bond"]]:
        """The squared errors in a coordinate, 1/nm^2, and the squared torques, per rad^2, that count one.

        The torsional part is the square of the error along the unit direction of each rotation.
        """
        cartesian = self.unit(sigma)
        return cartesian, cartesian.unsqueeze(1) * rotations.square().sum((2, 3))


class ActionPrincipleWeights(ErrorWeights):
    """The weights of score matching from an action principle; the loss is one per coordinate.

    Args:
        law: The law of the times of a batch, with the schedule, nm.
        weight: "likelihood" or "simple".
    """

    def __init__(self, law: TimeLaw, weight: str) -> None:
        self._law, self._weight = law, weight

    @property
    def facts(self) -> list[Any]:
        return [self._weight, type(self._law).__name__, self._law.schedule.to_dict(), self._law.widths]

    def unit(self, sigma: Tensor) -> Tensor:
        schedule = self._law.schedule
        t = schedule.time_of(sigma.double())
        weight = WEIGHTS[self._weight](schedule, t) * self._law.inverse_density(t) / schedule.alpha(t).square()
        return (2 / weight).to(sigma)

"""Laws from which the diffusion times of a batch are drawn, for losses that are integrals over time.

A loss of the form int w(t) l(t) dt is estimated by the mean of w(t) l(t) / q(t) over times from a density q, whatever q
is. With the likelihood weight w = g^2, l is E|error of the noise|^2 / sigma^2 with an error of order one at every time.
So the variance is least for q in proportion to g^2 / sigma^2 = -d log(snr)/dt, that is for uniform log(sigma / alpha).

Source: Song et al., arXiv:2101.09258, section 4.1 (importance sampling of the likelihood weight).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tpsctl.score.schedule import NoiseSchedule


class TimeLaw(ABC):
    """A density q on the times at which the noise width sigma / alpha lies between two bounds.

    Args:
        schedule: Gives the width that belongs to a time.
        smallest_width: Smallest noise width sigma / alpha, in the schedule's length unit.
        largest_width: Largest noise width, in the schedule's length unit; at most the schedule's own largest counts.
    """

    def __init__(self, schedule: NoiseSchedule, smallest_width: float, largest_width: float) -> None:
        self.schedule = schedule
        ends = torch.tensor([smallest_width, largest_width], dtype=torch.float64)
        self._times = schedule.time_of(ends)
        self._log_widths = schedule.relative_sigma(self._times).log()

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Stratified times (count,) in random order, and 1 / q at each, in float64."""
        shift = torch.rand((), generator=generator, dtype=torch.float64)
        u = (torch.arange(count, dtype=torch.float64) + shift) / count
        t = self._quantile(u[torch.randperm(count, generator=generator)])
        return t, self.inverse_density(t)

    @property
    def widths(self) -> list[float]:
        """The smallest and the largest noise width sigma / alpha that are drawn."""
        return self._log_widths.exp().tolist()

    @abstractmethod
    def inverse_density(self, t: Tensor) -> Tensor:
        """1 / q at times t."""

    @abstractmethod
    def _quantile(self, u: Tensor) -> Tensor:
        """The times below which fractions u of all draws lie."""


class UniformTimes(TimeLaw):
    """Times drawn uniformly."""

    def inverse_density(self, t: Tensor) -> Tensor:
        return (self._times[1] - self._times[0]).expand_as(t)

    def _quantile(self, u: Tensor) -> Tensor:
        return self._times[0] + u * (self._times[1] - self._times[0])


class ImportanceTimes(TimeLaw):
    """Times drawn in proportion to g^2 / sigma^2: log(sigma / alpha) is uniform."""

    def inverse_density(self, t: Tensor) -> Tensor:
        # d log(sigma/alpha)/dt = g^2 / (2 sigma^2)
        rate = self.schedule.diffusion_squared(t) / (2 * self.schedule.sigma(t).square())
        return (self._log_widths[1] - self._log_widths[0]) / rate

    def _quantile(self, u: Tensor) -> Tensor:
        widths = torch.exp(self._log_widths[0] + u * (self._log_widths[1] - self._log_widths[0]))
        return self.schedule.time_of(widths)


TIME_LAWS: dict[str, type[TimeLaw]] = {"uniform": UniformTimes, "importance": ImportanceTimes}
"""The laws by the name in a recipe."""


def likelihood_weight(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """g^2: with it the score-matching loss is the excess of an upper bound of the negative log-likelihood, in nats."""
    return schedule.diffusion_squared(t)


def simple_weight(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """sigma^2: the loss is then the squared error of the predicted noise, the same at all times.

    Source: Ho et al., arXiv:2006.11239, eq. 14.
    """
    return schedule.sigma(t).square()


WEIGHTS = {"likelihood": likelihood_weight, "simple": simple_weight}
"""Weights of times in a loss by the name in a recipe."""

"""Noise schedules, which say how much noise belongs to a diffusion time.

A schedule is the Gaussian path from data (t = 0) to noise (t = 1)

    x_t = alpha(t) x_0 + sigma(t) eps ,      eps ~ N(0, I)

in the length unit of its owner (nm for native checkpoints). All that matters of x_t is y = x_t / alpha and the
relative noise width sigma_y = sigma / alpha: y is data plus noise of that width, whatever the schedule.

The same path is made by the stochastic process dx = b dt + g dW with b = (alpha' / alpha) x and

    g^2 = 2 sigma (sigma' - (alpha' / alpha) sigma) = alpha^2 d(sigma_y^2)/dt .

The signal-to-noise ratio is snr = alpha^2 / sigma^2, and g^2 / sigma^2 = -d log(snr)/dt.

Source: Song et al., arXiv:2011.13456 (variance exploding, preserving and sub-preserving); Nichol and Dhariwal,
arXiv:2102.09672, eq. 17 (cosine); Lipman et al., arXiv:2210.02747 (flow matching); Kingma et al., arXiv:2107.00630,
eqs. 1 to 3 and 9 (b, g and snr of alpha and sigma).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from tpsctl.errors import PriorError


@dataclass(frozen=True)
class NoiseSchedule(ABC):
    """alpha(t), sigma(t) and their derivatives for tensors of diffusion times in [0, 1].

    Attributes:
        name: Name of the schedule in a checkpoint.

    Raises:
        PriorError: A parameter is not a finite number > 0.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for parameter, value in asdict(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise PriorError(f"schedule {self.name}: {parameter}: got {value!r}, expected a finite number > 0.")

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the data, 1 at t = 0."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise, in the owner's length unit."""

    @abstractmethod
    def alpha_dot(self, t: Tensor) -> Tensor:
        """Derivative d alpha / dt."""

    @abstractmethod
    def sigma_dot(self, t: Tensor) -> Tensor:
        """Derivative d sigma / dt, in the owner's length unit."""

    @abstractmethod
    def time_of(self, relative_sigma: Tensor) -> Tensor:
        """The time t at which sigma / alpha has this value, clamped to [0, 1]."""

    def relative_sigma(self, t: Tensor) -> Tensor:
        """sigma / alpha: width of the noise on y = x_t / alpha, in the owner's length unit."""
        return self.sigma(t) / self.alpha(t)

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """b = (alpha' / alpha) x, the drift of the process from data to noise, in the unit of x per unit of t.

        Args:
            x: Configurations.
            t: Times below 1, of a shape that broadcasts with x.
        """
        return self.alpha_dot(t) / self.alpha(t) * x

    def diffusion_squared(self, t: Tensor) -> Tensor:
        """g^2, the squared diffusion coefficient of the process, for t in (0, 1); length unit squared per unit of t."""
        sigma = self.sigma(t)
        return 2 * sigma * (self.sigma_dot(t) - self.alpha_dot(t) / self.alpha(t) * sigma)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratio alpha^2 / sigma^2, in the inverse square of the owner's length unit."""
        return (self.alpha(t) / self.sigma(t)).square()

    def coefficients(self, t: float) -> tuple[float, float]:
        """alpha and sigma at one time."""
        time = torch.tensor(t, dtype=torch.float64)
        return float(self.alpha(time)), float(self.sigma(time))

    def width(self, t: float) -> float:
        """`relative_sigma` at one time; infinite where no data are left."""
        return float(self.relative_sigma(torch.tensor(t, dtype=torch.float64)))

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, for a checkpoint's metadata."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class VarianceExploding(NoiseSchedule):
    """Noise added to unchanged data: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    Attributes:
        sigma_min: Width of the noise at t = 0 in the owner's length unit.
        sigma_max: Width of the noise at t = 1 in the owner's length unit.

    Source: Song et al., arXiv:2011.13456, appendix C.
    """

    sigma_min: float
    sigma_max: float
    name: ClassVar[str] = "variance_exploding"

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(self._log_ratio * t)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return self._log_ratio * self.sigma(t)

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        return (torch.log(relative_sigma / self.sigma_min) / self._log_ratio).clamp(0, 1)

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)


@dataclass(frozen=True)
class VariancePreserving(NoiseSchedule):
    """alpha^2 + (sigma / scale)^2 = 1 with the cosine law alpha = cos(angle(t)) / cos(angle(0)).

    Attributes:
        scale: Width of the noise at t = 1 in the owner's length unit.
        offset: s of the cosine law, which keeps sigma from vanishing too fast at t = 0.
        end: Largest fraction of the quarter turn; below 1 so that alpha stays positive.

    Source: Nichol and Dhariwal, arXiv:2102.09672, eq. 17.
    """

    scale: float = 1.0
    offset: float = 0.008
    end: float = 0.999
    name: ClassVar[str] = "variance_preserving"

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(self._angle(t)) / math.cos(self._angle_0)

    def sigma(self, t: Tensor) -> Tensor:
        # 1 - alpha^2 as a product: exact for small t, where the difference would cancel.
        angle, angle_0 = self._angle(t), self._angle_0
        squared = torch.sin(angle - angle_0) * torch.sin(angle + angle_0)
        return self.scale * squared.clamp_min(0).sqrt() / math.cos(angle_0)

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -torch.sin(self._angle(t)) * self._angle_dot / math.cos(self._angle_0)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -(self.scale**2) * self.alpha(t) * self.alpha_dot(t) / self.sigma(t)

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        alpha = 1 / torch.sqrt(1 + (relative_sigma / self.scale) ** 2)
        angle = torch.acos(alpha * math.cos(self._angle_0))
        return ((angle - self._angle_0) / self._angle_dot).clamp(0, 1)

    @property
    def _angle_0(self) -> float:
        return self.offset / (1 + self.offset) * math.pi / 2

    @property
    def _angle_dot(self) -> float:
        return self.end / (1 + self.offset) * math.pi / 2

    def _angle(self, t: Tensor) -> Tensor:
        return self._angle_0 + self._angle_dot * t


@dataclass(frozen=True)
class _LinearRate(NoiseSchedule):
    """Data that decay at a rate beta(t) growing linearly: alpha = exp(-B/2), B = int_0^t beta.

    Attributes:
        scale: Width of the noise at t = 1 in the owner's length unit.
        smallest_rate: beta at t = 0.
        largest_rate: beta at t = 1.
    """

    scale: float = 1.0
    smallest_rate: float = 0.1
    largest_rate: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.largest_rate < self.smallest_rate:
            raise PriorError(
                f"schedule {self.name}: largest_rate: got {self.largest_rate:g}, expected at least smallest_rate, "
                f"{self.smallest_rate:g}."
            )

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self._decay(t))

    def alpha_dot(self, t: Tensor) -> Tensor:
        rate = self.smallest_rate + t * (self.largest_rate - self.smallest_rate)
        return -0.5 * rate * self.alpha(t)

    def _decay(self, t: Tensor) -> Tensor:
        """B(t)."""
        return t * (self.smallest_rate + 0.5 * t * (self.largest_rate - self.smallest_rate))

    def _time_of_decay(self, decay: Tensor) -> Tensor:
        """The time at which B has this value, clamped to [0, 1]."""
        slope = self.largest_rate - self.smallest_rate
        root = (self.smallest_rate**2 + 2 * slope * decay).sqrt()
        return (2 * decay / (self.smallest_rate + root)).clamp(0, 1)


@dataclass(frozen=True)
class LinearVariancePreserving(_LinearRate):
    """alpha^2 + (sigma / scale)^2 = 1 with alpha = exp(-B/2).

    Source: Song et al., arXiv:2011.13456, eqs. 32 and 33.
    """

    name: ClassVar[str] = "linear_variance_preserving"

    def sigma(self, t: Tensor) -> Tensor:
        return self.scale * (-torch.expm1(-self._decay(t))).sqrt()

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -(self.scale**2) * self.alpha(t) * self.alpha_dot(t) / self.sigma(t)

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        return self._time_of_decay(torch.log1p((relative_sigma / self.scale).square()))


@dataclass(frozen=True)
class SubVariancePreserving(_LinearRate):
    """sigma = scale (1 - alpha^2) with alpha = exp(-B/2): less noise than the variance-preserving schedule at every t.

    Source: Song et al., arXiv:2011.13456, eqs. 28 and 29.
    """

    name: ClassVar[str] = "sub_variance_preserving"

    def sigma(self, t: Tensor) -> Tensor:
        return -self.scale * torch.expm1(-self._decay(t))

    def sigma_dot(self, t: Tensor) -> Tensor:
        return -2 * self.scale * self.alpha(t) * self.alpha_dot(t)

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        return self._time_of_decay(2 * torch.asinh(relative_sigma / (2 * self.scale)))


@dataclass(frozen=True)
class Flow(NoiseSchedule):
    """Straight interpolant of flow matching: alpha = 1 - t, sigma = scale * t.

    Attributes:
        scale: Width of the noise at t = 1 in the owner's length unit.

    Source: Lipman et al., arXiv:2210.02747.
    """

    scale: float = 1.0
    name: ClassVar[str] = "flow"

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return self.scale * t

    def alpha_dot(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.scale)

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        return relative_sigma / (relative_sigma + self.scale)


@dataclass(frozen=True)
class BrownianMotion(NoiseSchedule):
    """Noise added at a constant rate to unchanged data: alpha = 1, sigma = scale sqrt(t).

    Attributes:
        scale: Width of the noise at t = 1 in the owner's length unit.
    """

    scale: float = 1.0
    name: ClassVar[str] = "brownian_motion"

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.scale * t.sqrt()

    def alpha_dot(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        return self.scale / (2 * t.sqrt())

    def time_of(self, relative_sigma: Tensor) -> Tensor:
        return (relative_sigma / self.scale).square().clamp(0, 1)


_SCHEDULES: dict[str, type[NoiseSchedule]] = {
    s.name: s
    for s in (
        *(VarianceExploding, VariancePreserving, LinearVariancePreserving, SubVariancePreserving, Flow),
        BrownianMotion,
    )
}


def schedule_from_dict(fields: dict[str, Any]) -> NoiseSchedule:
    """The schedule of which `NoiseSchedule.to_dict` gave these fields.

    Raises:
        PriorError: The name is unknown, or the parameters are not those of the schedule.
    """
    values = dict(fields)
    name = values.pop("name", None)
    if name not in _SCHEDULES:
        raise PriorError(f"schedule: got {name!r}, expected one of {', '.join(_SCHEDULES)}.")
    try:
        return _SCHEDULES[name](**values)
    except TypeError as error:
        raise PriorError(f"schedule {name}: {error}.") from None

"""A Gaussian as a prior: the harmonic oscillator, which is exactly solvable at every diffusion time.

If the data x_0 are N(mu, s^2) and x_t = alpha x_0 + sigma eps, then y = x_t / alpha is N(mu, s^2 + (sigma/alpha)^2), so

    score(y, t) = -(y - mu) / (s^2 + (sigma(t)/alpha(t))^2) .
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.prior.base import Prior
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.constant import Constant
from tpsctl.score.schedule import NoiseSchedule, VariancePreserving


class GaussianPrior(Prior):
    """One bead around a center.

    Args:
        mean_nm: mu, one coordinate per dimension, nm.
        std_nm: s, nm.
        schedule: Noise schedule in nm; variance preserving with the data's width by default.

    Attributes:
        mean_nm: mu, (1, dim).
        std_nm: s, nm.
        schedule: The noise schedule.
    """

    kind = "gaussian"
    n_beads = 1
    conservative = True
    temperature_k = None

    def __init__(self, *, mean_nm: Sequence[float], std_nm: float, schedule: NoiseSchedule | None = None) -> None:
        self.n_dims = len(mean_nm)
        self.mean_nm = Constant(torch.tensor([list(mean_nm)], dtype=torch.float64))
        self.std_nm = std_nm
        self.schedule = schedule or VariancePreserving(scale=std_nm)

    def at(self, t: float) -> Score:
        variance = self.std_nm**2 + self.sigma_nm(t) ** 2
        return AutogradScore(lambda x: -(x - self.mean_nm.like(x)) / variance)

    def log_density(self, x: Tensor, t: float) -> Tensor:
        variance = self.std_nm**2 + self.sigma_nm(t) ** 2
        return -(x - self.mean_nm.like(x)).flatten(1).square().sum(1) / (2 * variance)

    def sigma_nm(self, t: float) -> float:
        return self.schedule.width(t)

    @property
    def generative(self) -> bool:
        return True

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        alpha, sigma = self.schedule.coefficients(t)
        return alpha * x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Draw x_0 from p(x_0 | x_t) in one exact step, because this distribution is Gaussian."""
        alpha, sigma = self.schedule.coefficients(t)
        precision = 1 / self.std_nm**2 + alpha**2 / sigma**2 if sigma > 0 else float("inf")
        if precision == float("inf"):
            return x_t / alpha
        center = (self.mean_nm.like(x_t) / self.std_nm**2 + alpha * x_t / sigma**2) / precision
        shape = x_t.shape[1:] if shared_noise else x_t.shape
        return center + torch.randn(shape, generator=generator, dtype=x_t.dtype).to(x_t) / precision**0.5

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 400) -> Tensor:
        """Draw exact samples, without steps."""
        noise = torch.randn(count, 1, self.n_dims, generator=generator, dtype=torch.float64)
        return self.mean_nm.value + self.std_nm * noise

"""Reverse process of a diffusion model with discrete levels: level by level, or in steps over several levels."""

import math

import torch
from torch import Tensor

from tpsctl.prior.conversions.noise import NoiseOutput
from tpsctl.prior.samplers.base import NetworkUnitSampler
from tpsctl.score.conversions import clean_from_noise
from tpsctl.score.levels import Levels

_LEVEL = ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")


class LevelSampler(NetworkUnitSampler):
    """Ancestral sampling with a network whose output is noise.

    Args:
        output: The network.
        levels: Its schedule of discrete levels, with tables.
    """

    def __init__(self, output: NoiseOutput, levels: Levels) -> None:
        super().__init__(output)
        self._noise_estimate, self._levels = output.noise_estimate, levels

    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        level = min(round(t * len(self._levels)), len(self._levels) - 1)
        return self.ancestral(y, level, generator, steps=steps, shared_noise=shared_noise)

    def ancestral(
        self,
        y: Tensor,
        level: int,
        generator: torch.Generator,
        *,
        steps: int,
        temperature: float = 1.0,
        shared_noise: bool = False,
    ) -> Tensor:
        """Run the reverse process from a level to data, in the network's own unit of length.

        Args:
            y: Configurations at `level`.
            level: The level to start from.
            generator: Random number generator (CPU).
            steps: Number of levels that are visited. With `level` + 1 or more, every level is visited and the published
                tables are used.
            temperature: Factor of the noise; with 0 every step takes the mean.
            shared_noise: Whether all configurations get the same random numbers.
        """
        visited = torch.linspace(level, 0, min(steps, level + 1)).round().long().tolist()
        for here, there in zip(visited, [*visited[1:], -1], strict=True):
            mean, log_variance = self.posterior(y, here) if there == here - 1 else self._leap(y, here, there)
            if there >= 0:  # the last step takes the mean
                shape = y.shape[1:] if shared_noise else y.shape
                noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(y)
                mean = mean + temperature * math.exp(0.5 * log_variance) * noise
            y = self._field.gauge(mean)
        return y

    def posterior(self, y: Tensor, level: int) -> tuple[Tensor, float]:
        """Mean and log-variance of y_{i-1} given y_i at level i, in the network's own unit of length."""
        table = {name: float(values[level]) for name, values in self._levels.tables.items()}
        clean = table["sqrt_recip_alphas_cumprod"] * y - table["sqrt_recipm1_alphas_cumprod"] * self._noise(y, level)
        mean = table["posterior_mean_coef1"] * self._field.gauge(clean) + table["posterior_mean_coef2"] * y
        return mean, table["posterior_log_variance_clipped"]

    def _leap(self, y: Tensor, here: int, there: int) -> tuple[Tensor, float]:
        """Mean and log-variance at level `there` given level `here`, several levels above; `there` = -1 means data."""
        tables = self._levels.tables
        alpha_here, sigma_here = (float(tables[name][here]) for name in _LEVEL)
        alpha_there, sigma_there = (float(tables[name][there]) for name in _LEVEL) if there >= 0 else (1.0, 0.0)
        clean = self._field.gauge(clean_from_noise(y, self._noise(y, here), alpha_here, sigma_here))
        ratio = alpha_here / alpha_there
        mean = (alpha_there * (1 - ratio**2) * clean + ratio * sigma_there**2 * y) / sigma_here**2
        return mean, 2 * math.log(max(sigma_there * (1 - ratio**2) ** 0.5 / sigma_here, 1e-10))

    def _noise(self, y: Tensor, level: int) -> Tensor:
        return self._field.gauge(self._noise_estimate(y, level / len(self._levels)).detach())

"""Samplers add noise to configurations and turn noise into configurations: one file per method."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.score.reverse_process import in_chunks


class Sampler(ABC):
    """Adds noise to configurations, removes it, and draws samples, all in nm."""

    @abstractmethod
    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """Add the noise of diffusion time t, as `Prior.noise` describes."""

    @abstractmethod
    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Turn noised configurations into clean ones, as `Prior.denoise` describes."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        """Draw independent samples, as `Prior.sample` describes."""

    @abstractmethod
    def trial_positions(self, count: int, generator: torch.Generator) -> Tensor:
        """Configurations (count, bead, dim), nm, float64, of about the right size for tests of a network."""


class NetworkUnitSampler(Sampler):
    """A sampler that works in the network's own unit of length, on y_t = alpha y + sigma noise.

    Molecules are kept centered: neither y nor the noise has a mean over beads.

    Args:
        output: Conversion of the network's output, with the network.
    """

    _chunk = 512
    """Configurations per network call."""

    def __init__(self, output: OutputConversion) -> None:
        self._output = output
        self._field, self._schedule, self._units = output.field, output.schedule, output.units

    @abstractmethod
    def reverse(
        self, y: Tensor, t: float, generator: torch.Generator, *, steps: int, shared_noise: bool = False
    ) -> Tensor:
        """Turn noised configurations at t into clean ones, in the network's own unit of length."""

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        y = self._field.gauge(self._units.to_network(x))
        noise = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
        return self._units.from_network(self.mix(y, noise, t))

    def mix(self, y: Tensor, noise: Tensor, t: float) -> Tensor:
        """alpha y + sigma noise, in the network's own unit of length."""
        alpha, sigma = self._schedule.coefficients(t)
        return alpha * self._field.gauge(y) + sigma * self._field.gauge(noise)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        y = self._field.gauge(self._units.to_network(x_t)).to(self._field.like)

        def reversed_(part: Tensor) -> Tensor:
            return self.reverse(part, t, generator, steps=steps, shared_noise=shared_noise)

        clean = in_chunks(reversed_, y, self._chunk, generator, shared_noise=shared_noise)
        return self._units.from_network(clean.to(x_t))

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        y = self._field.gauge(self._normal(count, generator))
        return self.denoise(self._units.from_network(y), 1.0, generator, steps=steps)

    def trial_positions(self, count: int, generator: torch.Generator) -> Tensor:
        """Normal noise of width 1 in the network's unit of length, which is about the width of the data."""
        return self._units.from_network(self._normal(count, generator))

    def _normal(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self._field.n_beads, self._field.n_dims, generator=generator, dtype=torch.float64)

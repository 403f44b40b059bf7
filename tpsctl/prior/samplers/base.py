"""How configurations are noised and noise is turned into configurations: one file per way of going."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.score.reverse_process import in_chunks


class Sampler(ABC):
    """Noise and samples of a network, in nm."""

    @abstractmethod
    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        """Noised configurations at level t of clean ones, as `Prior.noise` gives them."""

    @abstractmethod
    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        """Clean configurations from noised ones, as `Prior.denoise` gives them."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        """Independent samples from pure noise, as `Prior.sample` gives them."""

    @abstractmethod
    def trial_positions(self, count: int, generator: torch.Generator) -> Tensor:
        """Configurations (count, bead, dim) of about the right size to try a network on, nm, float64."""


class NetworkUnitSampler(Sampler):
    """A sampler that goes in the network's own length, from x_t = alpha y + sigma noise without its center of mass.

    Args:
        output: The network with what its output means.
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
        """Clean configurations from noised ones at t, in the network's own length."""

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        y = self._field.gauge(self._units.to_network(x))
        noise = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
        return self._units.from_network(self.mix(y, noise, t))

    def mix(self, y: Tensor, noise: Tensor, t: float) -> Tensor:
        """alpha y + sigma noise, in the network's own length."""
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
        """Noise as wide as the data, by which the network's length is scaled."""
        return self._units.from_network(self._normal(count, generator))

    def _normal(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self._field.n_beads, self._field.n_dims, generator=generator, dtype=torch.float64)

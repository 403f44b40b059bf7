"""Reverse process over geometrically decreasing noise widths, with Langevin steps (see `score.reverse_process`)."""

import torch
from torch import Tensor

from tpsctl.prior.conversions.energy import EnergyOutput
from tpsctl.prior.samplers.base import Sampler
from tpsctl.score.reverse_process import geometric_widths, in_chunks, reverse, standard_normal

_CHUNK = 1000
"""Configurations per network call while sampling."""


class WidthSampler(Sampler):
    """Noise and samples for a network that is an energy of y = x_t / alpha, in nm.

    Args:
        output: The energy.
    """

    def __init__(self, output: EnergyOutput) -> None:
        self._field, self._schedule = output.field, output.schedule

    def noise(self, x: Tensor, t: float, generator: torch.Generator) -> Tensor:
        alpha, sigma = self._schedule.coefficients(t)
        return alpha * x + sigma * standard_normal(x, generator)

    def denoise(
        self, x_t: Tensor, t: float, generator: torch.Generator, *, steps: int = 100, shared_noise: bool = False
    ) -> Tensor:
        width, y = self._schedule.width(t), x_t / self._schedule.coefficients(t)[0]
        if width <= self._field.smallest_width:
            return y
        return self._reverse(y.to(self._field.like), width, generator, steps, shared_noise=shared_noise).to(x_t)

    def sample(self, count: int, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        shape = self._field.like.new_empty(count, self._field.n_beads, self._field.n_dims)
        width = self._field.largest_width
        return self._reverse(
            width * standard_normal(shape, generator), width, generator, steps, corrections=self._field.corrections
        )

    def sample_noised(self, count: int, width_nm: float, generator: torch.Generator, *, steps: int = 100) -> Tensor:
        """Independent samples (count, bead, dim) of the data with noise of a width, nm, which no network call below it
        has touched."""
        shape = self._field.like.new_empty(count, self._field.n_beads, self._field.n_dims)
        widths = geometric_widths(self._field.largest_width, width_nm, steps)
        y = widths[0] * standard_normal(shape, generator)
        return in_chunks(
            lambda part: reverse(
                self._score, part, widths, generator, corrections=self._field.corrections, last_mean=False
            ),
            y,
            _CHUNK,
            generator,
            shared_noise=False,
        )

    def trial_positions(self, count: int, generator: torch.Generator) -> Tensor:
        return self.sample(count, generator, steps=50).double()

    def _reverse(
        self,
        y: Tensor,
        width: float,
        generator: torch.Generator,
        steps: int,
        *,
        corrections: int = 0,
        shared_noise: bool = False,
    ) -> Tensor:
        widths = geometric_widths(width, self._field.smallest_width, steps)

        def reversed_(part: Tensor) -> Tensor:
            return reverse(self._score, part, widths, generator, corrections=corrections, shared_noise=shared_noise)

        return in_chunks(reversed_, y, _CHUNK, generator, shared_noise=shared_noise)

    def _score(self, y: Tensor, width: float) -> Tensor:
        return self._field(y, width).detach()

"""Score matching on points, for every noise schedule: the action principle with its weights, forms and time laws.

For x = alpha x_0 + sigma eps the loss of a score s is one of two integrals, which differ by a constant:

    denoising    int w(t)/2 E |s(x, t) + eps/sigma|^2 dt
    implicit     int w(t) E [ |s(x, t)|^2 / 2 + div s(x, t) ] dt ,   div s estimated as v . (J v), v = +-1 at random

With w = g^2 ("likelihood") the loss is, up to a constant, the excess action of the reverse process with the drift
-b + g^2 s, whose least action is -log p; so it bounds the negative log-likelihood. With w = sigma^2 ("simple") it is
the mean squared error of the predicted noise.

The network predicts the noise from z = y / (1 + width^2)^(1/2), y = x / alpha, and the clock log(width)/4, where
width = sigma / alpha. Then s = -eps_hat / sigma, and any schedule may be used with any network: a schedule only decides
how often and how heavily a width counts.

Source: the action principle: arXiv:2310.04490; denoising: Vincent, Neural Comput. 23 (2011) 1661; implicit: Hyvarinen,
JMLR 6 (2005) 695, with the estimate of Hutchinson as in Song et al., arXiv:1905.07088; input and clock: Karras et al.,
arXiv:2206.00364, table 1.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.networks.energy_perceptron import PointNetwork
from tpsctl.score.conversions import width_clock, width_input
from tpsctl.training.objectives.base import Objective, fingerprint_of, seeded
from tpsctl.training.objectives.points import point_network
from tpsctl.training.times import WEIGHTS, TimeLaw


@dataclass(frozen=True)
class DiffusedPoints:
    """A batch of clean points with noise, noise widths, weights and random signs.

    Attributes:
        clean: Points (batch, dim) in units of the data's spread, centered.
        noise: Standard normal noise (batch, dim).
        width: Noise widths sigma / alpha, (batch,).
        weight: w(t) / (sigma^2 q(t)), q being the density of the times; (batch,).
        signs: Random signs (batch, dim) for the divergence; empty for the denoising form.
    """

    clean: Tensor
    noise: Tensor
    width: Tensor
    weight: Tensor
    signs: Tensor

    def to(self, device: torch.device) -> "DiffusedPoints":
        """The same batch on a device."""
        parts = (self.clean, self.noise, self.width, self.weight, self.signs)
        return DiffusedPoints(*(part.to(device, non_blocking=True) for part in parts))


@dataclass(frozen=True)
class ScoreMatchingSettings:
    """Choices of the loss, and sizes of the network and of a batch.

    Attributes:
        hidden: Width of the hidden layers.
        batch: Number of points per step.
        conservative: Whether the network is the gradient of an energy.
        form: "denoising" or "implicit".
        weight: "likelihood" or "simple".
        seed: Seed of the network's initial parameters.
    """

    hidden: int
    batch: int
    conservative: bool = False
    form: str = "denoising"
    weight: str = "likelihood"
    seed: int = 0


class ScoreMatching(Objective[DiffusedPoints, PointNetwork]):
    """The score-matching loss of a network that predicts noise.

    Args:
        points: Data in units of its mean and spread, (count, dim), float32.
        settings: See `ScoreMatchingSettings`.
        law: Law of the diffusion times, with the schedule, whose length unit is the spread of the data.
    """

    def __init__(self, points: Tensor, settings: ScoreMatchingSettings, law: TimeLaw) -> None:
        self.settings, self._points, self._law = settings, points, law
        make = point_network(points.shape[1], settings.hidden, conservative=settings.conservative)
        self._network = seeded(settings.seed, make)

    @property
    def network(self) -> PointNetwork:
        return self._network

    def draw(self, generator: torch.Generator) -> DiffusedPoints:
        count, schedule = self.settings.batch, self._law.schedule
        clean = self._points[torch.randint(len(self._points), (count,), generator=generator)]
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        t, inverse_density = self._law.draw(count, generator)
        weight = WEIGHTS[self.settings.weight](schedule, t) * inverse_density / schedule.sigma(t).square()
        signs = clean.new_empty(0)
        if self.settings.form == "implicit":
            signs = torch.randint(2, clean.shape, generator=generator).to(clean) * 2 - 1
        return DiffusedPoints(clean, noise, schedule.relative_sigma(t).to(clean), weight.to(clean), signs)

    def loss(self, batch: DiffusedPoints) -> Tensor:
        y = batch.clean + batch.width.unsqueeze(-1) * batch.noise
        return (batch.weight * self._errors(y, batch)).mean()

    def predicted_noise(self, y: Tensor, width: Tensor) -> Tensor:
        """eps_hat (batch, dim) at noised points y and noise widths (batch,)."""
        return self.network(width_input(y, width.unsqueeze(-1)), width_clock(width))

    def fingerprint(self) -> str:
        law = self._law
        facts = [asdict(self.settings), type(law).__name__, law.schedule.to_dict(), law.widths]
        return fingerprint_of(facts, (self._points,))

    def _errors(self, y: Tensor, batch: DiffusedPoints) -> Tensor:
        """sigma^2 times what the module docstring integrates with the weight w, (batch,)."""
        if self.settings.form == "denoising":
            return (self.predicted_noise(y, batch.width) - batch.noise).square().sum(-1) / 2
        y = y.requires_grad_(True)
        noise = self.predicted_noise(y, batch.width)
        (products,) = torch.autograd.grad((noise * batch.signs).sum(), y, create_graph=True)
        return noise.square().sum(-1) / 2 - batch.width * (products * batch.signs).sum(-1)

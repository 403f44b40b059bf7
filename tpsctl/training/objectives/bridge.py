"""A Schroedinger bridge between the laws of data and of noise, learned in half steps.

Among all processes from the law of data (t = 0) to N(0, 1) (t = 1) the bridge is the closest, in relative entropy, to
Brownian motion of strength c. It is the action principle of score matching with the laws of both ends fixed. Half steps
alternate between the directions, and each fixes one end: points are drawn from the law of that end and carried to the
other by the drift that was learned last, which gives pairs (x_0, x_1). Between them runs a Brownian bridge,

    x_t = (1 - t) x_0 + t x_1 + c (t (1 - t))^(1/2) eps ,

and the drift of the other direction is learned by regression,

    towards data     t |b(x_t, t) - (x_0 - x_t) / t|^2
    towards noise    (1 - t) |f(x_t, t) - (x_1 - x_t) / (1 - t)|^2 .

The first half step goes towards data from pairs of Brownian motion, which is score matching with exploding variance.
When half steps have converged, f + b = c^2 grad log p_t.

Source: De Bortoli et al., arXiv:2106.01357, sec. 3 (half steps); Shi et al., arXiv:2303.16852, algorithm 1 (regression
on Brownian bridges); Nelson, Dynamical Theories of Brownian Motion (1967), for the sum of the drifts.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.networks.bridge_perceptron import BridgePerceptron, BridgeSizes
from tpsctl.score.bridge import carry
from tpsctl.training.objectives.base import Objective, fingerprint_of, seeded

_PAIRS = 8192
"""Pairs that a half step learns from; they are drawn at its beginning."""

_EDGE = 1e-3
"""Times are drawn from this far inside of [0, 1], because a target diverges at either end."""


@dataclass(frozen=True)
class BridgePoints:
    """A batch of pairs with times and noise.

    Attributes:
        data: Points at t = 0, (batch, dim).
        end: Points at t = 1, (batch, dim).
        t: Times (batch, 1).
        noise: Standard normal noise (batch, dim).
        to_data: Whether the drift towards data is learned.
    """

    data: Tensor
    end: Tensor
    t: Tensor
    noise: Tensor
    to_data: bool

    def to(self, device: torch.device) -> "BridgePoints":
        """The same batch on a device."""
        data, end, t, noise = (part.to(device, non_blocking=True) for part in (self.data, self.end, self.t, self.noise))
        return BridgePoints(data, end, t, noise, self.to_data)


@dataclass(frozen=True)
class BridgeSettings:
    """Sizes of the network, of a batch and of a half step.

    Attributes:
        hidden: Width of the hidden layers.
        batch: Number of pairs per step.
        noise: c, in standard deviations of the data.
        steps: Number of optimizer steps of a half step.
        images: Number of steps of the processes that make pairs.
        seed: Seed of the network's initial parameters.
    """

    hidden: int
    batch: int
    noise: float
    steps: int
    images: int = 30
    seed: int = 0


class SchroedingerBridge(Objective[BridgePoints, BridgePerceptron]):
    """The regression of half steps, one after the other.

    Args:
        points: Data in units of its mean and spread, (count, dim), float32.
        settings: See `BridgeSettings`.
        layers: Number of linear layers of each network.
    """

    def __init__(self, points: Tensor, settings: BridgeSettings, *, layers: int = 5) -> None:
        self.settings, self._points = settings, points
        sizes = BridgeSizes(points.shape[1], settings.hidden, layers, "swish", settings.noise)
        self._network = seeded(settings.seed, lambda: BridgePerceptron(sizes).float())
        self._drawn = 0
        self._pairs = points.new_zeros(2, _PAIRS, points.shape[1])

    @property
    def network(self) -> BridgePerceptron:
        return self._network

    def draw(self, generator: torch.Generator) -> BridgePoints:
        half, done = divmod(self._drawn, self.settings.steps)
        to_data = half % 2 == 0
        if done == 0:
            self._pairs = self._draw_pairs(generator, to_data=to_data, first=half == 0)
        self._drawn += 1
        count = self.settings.batch
        chosen = torch.randint(_PAIRS, (count,), generator=generator)
        t = _EDGE + (1 - 2 * _EDGE) * torch.rand(count, 1, generator=generator, dtype=self._points.dtype)
        noise = torch.randn(count, self._points.shape[1], generator=generator, dtype=self._points.dtype)
        return BridgePoints(self._pairs[0, chosen], self._pairs[1, chosen], t, noise, to_data)

    def loss(self, batch: BridgePoints) -> Tensor:
        t, left = batch.t, 1 - batch.t
        x = left * batch.data + t * batch.end + self.settings.noise * (t * left).sqrt() * batch.noise
        if batch.to_data:
            drift, target, weight = self.network.to_data, (batch.data - x) / t, t
        else:
            drift, target, weight = self.network.to_noise, (batch.end - x) / left, left
        return (weight * (drift(x, t.squeeze(1)) - target).square()).mean()

    def store(self) -> dict[str, Tensor]:
        return {"pairs": self._pairs, "drawn": torch.tensor(self._drawn)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self._pairs, self._drawn = tensors["pairs"], int(tensors["drawn"])

    def fingerprint(self) -> str:
        return fingerprint_of([type(self).__name__, asdict(self.settings)], (self._points,))

    def _draw_pairs(self, generator: torch.Generator, *, to_data: bool, first: bool) -> Tensor:
        """Pairs (x_0, x_1), (2, pair, dim), whose end that the half step fixes has the exact law."""
        settings = self.settings
        data = self._points[torch.randint(len(self._points), (_PAIRS,), generator=generator)]
        normal = torch.randn(data.shape, generator=generator, dtype=data.dtype)
        if first:
            return torch.stack((data, data + settings.noise * normal))
        device = next(self.network.parameters()).device
        times = torch.linspace(0, 1, settings.images + 1).tolist()
        if to_data:
            end = carry(self.network.to_noise, data.to(device), times, settings.noise, generator)
            return torch.stack((data, end.cpu()))
        start = carry(self.network.to_data, normal.to(device), times[::-1], settings.noise, generator)
        return torch.stack((start.cpu(), normal))

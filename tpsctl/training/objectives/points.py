"""What the objectives on points of a model potential share: points, noise and times of a batch, and the perceptron.

With y the points in units of their mean and standard deviation and eps normal, a batch holds (y, eps, t), t in [0, 1].
A fraction of the times is drawn below 0.1, because paths are sought at small times. This changes how often times occur
in the loss, and not the minimizer, which is the same regression at every time.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.networks.energy_perceptron import EnergyPerceptron, PointNetwork
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.training.objectives.base import Objective, fingerprint_of, seeded

_SMALL_TIME = 0.1
_LAYERS = 5


def point_network(dims: int, hidden: int, *, conservative: bool = False) -> Callable[[], PointNetwork]:
    """A function that makes the network of the objectives on points, in float32.

    Args:
        dims: Coordinates of a point.
        hidden: Width of the hidden layers.
        conservative: Whether the output is the gradient of an energy.
    """
    sizes = PerceptronSizes(dims, hidden, _LAYERS, "swish")
    kind = EnergyPerceptron if conservative else Perceptron
    return lambda: kind(sizes).float()


@dataclass(frozen=True)
class PointBatch:
    """A batch of clean points with noise and times.

    Attributes:
        clean: Points (batch, dim) in units of the data's mean and spread.
        noise: Standard normal noise (batch, dim).
        t: Diffusion times (batch,) in [0, 1].
    """

    clean: Tensor
    noise: Tensor
    t: Tensor

    def to(self, device: torch.device) -> "PointBatch":
        """The same batch on a device."""
        return PointBatch(*(part.to(device, non_blocking=True) for part in (self.clean, self.noise, self.t)))


@dataclass(frozen=True)
class PointSettings:
    """Sizes of the network and of a batch, for the objectives on points.

    Attributes:
        hidden: Width of the hidden layers.
        batch: Number of points per step.
        small_times: Fraction of a batch with t below 0.1.
        seed: Seed of the network's initial parameters.
    """

    hidden: int
    batch: int
    small_times: float
    seed: int = 0


class PointObjective(Objective[PointBatch, PointNetwork]):
    """A regression on noised points; a subclass defines what the network predicts.

    Args:
        points: Data in units of its mean and spread, (count, dim), float32.
        settings: Sizes of the network and of a batch.
        tables: Tables of the subclass, which become part of the fingerprint.
        conservative: Whether the network is the gradient of an energy.
    """

    def __init__(
        self, points: Tensor, settings: PointSettings, tables: tuple[Tensor, ...] = (), *, conservative: bool = False
    ) -> None:
        self.settings, self._points, self._tables = settings, points, tables
        make = point_network(points.shape[1], settings.hidden, conservative=conservative)
        self._network = seeded(settings.seed, make)

    @property
    def network(self) -> PointNetwork:
        return self._network

    def draw(self, generator: torch.Generator) -> PointBatch:
        count = self.settings.batch
        clean = self._points[torch.randint(len(self._points), (count,), generator=generator)]
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        t = torch.rand(count, generator=generator, dtype=clean.dtype)
        t[: round(self.settings.small_times * count)] *= _SMALL_TIME
        return PointBatch(clean, noise, t)

    def fingerprint(self) -> str:
        return fingerprint_of([type(self).__name__, asdict(self.settings)], (self._points, *self._tables))

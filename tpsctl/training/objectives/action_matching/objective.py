"""Action Matching: the scalar s(x, t) whose gradient carries the marginals q_t along, learned from samples of them.

    loss = w(0) E_q0 s_0 - w(1) E_q1 s_1 + integral E_qt [ w(t) r + w'(t) s ] dt

with the residual r of `tpsctl.score.hamilton_jacobi`. Four variants:

    plain        r = ds/dt + |grad s|^2 / 2                         sample: dx = grad s dt
    entropic     r + sigma^2 / 2 laplacian(s)                       sample: dx = grad s dt + sigma dW
    unbalanced   either with r + g s^2 / 2                          sample: as the variant, d log w = g s dt
    weighted     any of them with a weight w(t) that is not 1       as the variant

All weights w > 0 inside (0, 1) have the same minimizer; one that vanishes at an end spares the loss the variance of
that end. The least loss is minus the kinetic energy, -1/2 integral w E|grad s|^2 dt for the plain variant; the loss of
any other s lies above it by 1/2 integral w E|grad s - grad s*|^2 dt. A constant added to s changes nothing but for the
unbalanced variant, where it is the rate of growth: E_q s = 0 for normalized marginals.

Source: Neklyudov et al., arXiv:2210.06662, eqs. 5, 13, 17 and appendix on weighted losses.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.networks.potential_perceptron import PotentialPerceptron
from tpsctl.score.hamilton_jacobi import Potential, hjb_residual
from tpsctl.training.objectives.action_matching.marginals import Marginals
from tpsctl.training.objectives.action_matching.times import AdaptiveTimes
from tpsctl.training.objectives.base import NetworkT, Objective, fingerprint_of, seeded

_EXACT_UP_TO = 6
"""Most coordinates for which the Laplacian is exact; for more it is estimated with one vector of random signs."""


@dataclass(frozen=True)
class ActionBatch:
    """Coupled points at the start, at time t and at the end, with the density from which t was drawn.

    Attributes:
        first: Samples of q_0 (batch, ...).
        middle: Samples of q_t (batch, ...).
        last: Samples of q_1 (batch, ...).
        t: Times (batch,).
        density: Density of t (batch,).
        signs: Random signs (1, batch, ...) for the Laplacian.
    """

    first: Tensor
    middle: Tensor
    last: Tensor
    t: Tensor
    density: Tensor
    signs: Tensor

    def to(self, device: torch.device) -> "ActionBatch":
        """The same batch on a device."""
        parts = (self.first, self.middle, self.last, self.t, self.density, self.signs)
        return ActionBatch(*(part.to(device, non_blocking=True) for part in parts))


@dataclass(frozen=True)
class ActionMatchingSettings:
    """Which loss is minimized, and the sizes of the network and of a batch.

    Attributes:
        noise: sigma of the entropic variant, in the data's unit per square root of the time from 0 to 1; 0 for none.
        growth: g of the unbalanced variant, per squared unit of the data; 0 for the others.
        weight_first: Weight w at time 0; w is linear between the ends.
        weight_last: Weight w at time 1.
        hidden: Width of the hidden layers.
        layers: Number of linear layers.
        batch: Number of points per step.
        late: Fraction of the times that is drawn from the last tenth.
        seed: Seed of the network's initial parameters.
    """

    noise: float = 0.0
    growth: float = 0.0
    weight_first: float = 1.0
    weight_last: float = 1.0
    hidden: int = 128
    layers: int = 5
    batch: int = 1000
    late: float = 0.0
    seed: int = 0

    def weight(self, t: Tensor) -> Tensor:
        """w(t), linear between its values at the ends."""
        return self.weight_first + self.slope * t

    @property
    def slope(self) -> float:
        """dw/dt."""
        return self.weight_last - self.weight_first


Known = Callable[[Tensor, Tensor], Tensor]
"""Gradient of a part of s that is known: points (batch, ...) and times (batch,) to vectors (batch, ...)."""


class ActionLoss:
    """Draws batches for a potential, takes its loss, and learns which times need more points.

    With a known part s_0 of the potential s_0 + s_1 the loss is that of s_1 in its presence,

        r = ds_1/dt + |grad s_1|^2 / 2 + grad s_0 . grad s_1 + sigma^2 / 2 laplacian(s_1) ,

    the loss of s_0 + s_1 up to terms without s_1. It is for variants without growth.

    Args:
        settings: Variant, and size of a batch.
    """

    def __init__(self, settings: ActionMatchingSettings) -> None:
        self.settings, self.times = settings, AdaptiveTimes(late=settings.late)

    def draw(self, marginals: Marginals, generator: torch.Generator) -> ActionBatch:
        """A batch of coupled points."""
        t, density = self.times.draw(self.settings.batch, generator)
        first, middle, last = marginals.draw(t, generator)
        signs = torch.randint(0, 2, (1, *middle.shape), generator=generator).to(middle) * 2 - 1
        return ActionBatch(first, middle, last, t.to(middle), density.to(middle), signs)

    def __call__(self, potential: Potential, batch: ActionBatch, known: Known | None = None) -> Tensor:
        """The loss, a scalar."""
        settings = self.settings
        start, end = torch.zeros_like(batch.t), torch.ones_like(batch.t)
        ends = potential(torch.cat((batch.first, batch.last)), torch.cat((start, end)))
        first, last = ends.chunk(2)
        inside = self.integrand(potential, batch, known)
        self.times.learn(batch.t, inside)
        boundary = settings.weight_first * first - settings.weight_last * last
        return (boundary + inside / batch.density).mean()

    def integrand(self, potential: Potential, batch: ActionBatch, known: Known | None = None) -> Tensor:
        """w r + w' s at the middle points (batch,)."""
        settings = self.settings
        probes = None if batch.middle[0].numel() <= _EXACT_UP_TO else batch.signs
        found = hjb_residual(
            potential, batch.middle, batch.t, noise=settings.noise, growth=settings.growth, probes=probes
        )
        residual = found.residual
        if known is not None:
            residual = residual + (known(batch.middle, batch.t) * found.gradient).flatten(1).sum(1)
        return settings.weight(batch.t) * residual + settings.slope * found.value


class ActionMatching(Objective[ActionBatch, NetworkT]):
    """The loss of Action Matching.

    Args:
        marginals: Where the samples come from.
        settings: Variant and sizes.
        network: s(x, t) for samples and times.
    """

    def __init__(self, marginals: Marginals, settings: ActionMatchingSettings, network: NetworkT) -> None:
        self._loss, self._marginals, self._network = ActionLoss(settings), marginals, network
        self.settings, self.times = settings, self._loss.times

    @property
    def network(self) -> NetworkT:
        return self._network

    @property
    def remark(self) -> str:
        return f"effective times {self.times.effective_fraction:.0%}"

    def draw(self, generator: torch.Generator) -> ActionBatch:
        return self._loss.draw(self._marginals, generator)

    def loss(self, batch: ActionBatch) -> Tensor:
        return self._loss(self._network, batch)

    def integrand(self, batch: ActionBatch) -> Tensor:
        """w r + w' s at the middle points (batch,)."""
        return self._loss.integrand(self._network, batch)

    def store(self) -> dict[str, Tensor]:
        return {"moments": self.times.store()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.times.restore(tensors["moments"])

    def fingerprint(self) -> str:
        return fingerprint_of([type(self).__name__, asdict(self.settings)], self._marginals.tensors())


def matching_of_points(marginals: Marginals, settings: ActionMatchingSettings) -> ActionMatching[PotentialPerceptron]:
    """Action Matching of points (batch, dim) with a perceptron."""
    sizes = PerceptronSizes(marginals.dims, settings.hidden, settings.layers, "swish")
    network = seeded(settings.seed, lambda: PotentialPerceptron(sizes).float())
    return ActionMatching(marginals, settings, network)

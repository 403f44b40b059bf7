"""Train a perceptron on points of a model potential, as diffusion or as flow matching.

With y the points in units of their mean and standard deviation, eps normal and t in [0, 1]:

    diffusion        x = alpha_i y + sigma_i eps at level i,     |f(x, i/levels) - eps|^2
    flow matching    x = s y + (1 - s) eps, s = 1 - t,           |f(x, s) - (y - eps)|^2

Half of the times are drawn below 0.1 (or as the recipe says), where paths are sought; the loss there is that of the
same regression, so its minimizer does not change.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.networks.perceptron import Perceptron, PerceptronSizes

_SMALL = 0.1
_WARM_UP_STEPS = 200


@dataclass(frozen=True)
class PointTraining:
    """What a training run does.

    Attributes:
        kind: "diffusion" or "flow_matching".
        hidden: Width of the network.
        steps: Optimizer steps.
        batch: Points per step.
        learning_rate: Peak of Adam's learning rate (cosine decay to 1 %).
        average: Decay of the running mean of the parameters per step.
        small_times: Fraction of a batch with t below 0.1.
        seed: Seed of everything random.
    """

    kind: str
    hidden: int
    steps: int
    batch: int
    learning_rate: float
    average: float
    small_times: float
    seed: int


class PointTrainer:
    """A network in training.

    Args:
        points: Data in its own units, (count, dim), float32.
        settings: What is done.
        alphas: alpha of every level; for diffusion.
        sigmas: sigma of every level; for diffusion.
    """

    def __init__(
        self, points: Tensor, settings: PointTraining, alphas: Tensor | None = None, sigmas: Tensor | None = None
    ) -> None:
        self.settings = settings
        self._points, self._alphas, self._sigmas = points, alphas, sigmas
        self._generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.sizes = PerceptronSizes(points.shape[1], settings.hidden, 5, "swish")
            self.network = Perceptron(self.sizes).float()
        self.average = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self._adam = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.losses: list[float] = []

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    def run(self) -> Iterator[tuple[int, float]]:
        """Step by step, from where it is: number of the step and its loss."""
        while self.step < self.settings.steps:
            step = self.step + 1
            for group in self._adam.param_groups:
                group["lr"] = self.settings.learning_rate * self._rate(step)
            loss = self._loss()
            self._adam.zero_grad()
            loss.backward()
            self._adam.step()
            self._update_average(step)
            self.losses.append(float(loss.detach()))
            yield step, self.losses[-1]

    def store(self) -> dict[str, Tensor]:
        """Everything the next step depends on, copied."""
        tensors = {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.network.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        tensors |= {"generator": self._generator.get_state()}
        losses = torch.tensor(self.losses, dtype=torch.float64)
        return {name: value.clone() for name, value in tensors.items()} | {"losses": losses}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `store` gave in a run with the same settings and points."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(tensors[f"network.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
                prefix = f"adam.{name}."
                state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                self._adam.state[parameter] = state
        self._generator.set_state(tensors["generator"])
        self.losses = tensors["losses"].tolist()

    def _loss(self) -> Tensor:
        chosen = torch.randint(len(self._points), (self.settings.batch,), generator=self._generator)
        clean = self._points[chosen]
        noise = torch.randn(clean.shape, generator=self._generator, dtype=clean.dtype)
        t = self._times()
        if self.settings.kind == "flow_matching":
            s = (1 - t).unsqueeze(-1)
            return (self.network(s * clean + (1 - s) * noise, 1 - t) - (clean - noise)).square().mean()
        assert self._alphas is not None
        assert self._sigmas is not None
        level = (t * len(self._alphas)).long().clamp(max=len(self._alphas) - 1)
        x = self._alphas[level].unsqueeze(-1) * clean + self._sigmas[level].unsqueeze(-1) * noise
        return (self.network(x, level / len(self._alphas)) - noise).square().mean()

    def _times(self) -> Tensor:
        t = torch.rand(self.settings.batch, generator=self._generator, dtype=self._points.dtype)
        t[: round(self.settings.small_times * len(t))] *= _SMALL
        return t

    def _rate(self, step: int) -> float:
        decay = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / self.settings.steps))
        return decay * min(1.0, step / _WARM_UP_STEPS)

    def _update_average(self, step: int) -> None:
        decay = min(self.settings.average, (step - 1) / step)
        for name, value in self.network.named_parameters():
            self.average[name].lerp_(value.detach(), 1 - decay)

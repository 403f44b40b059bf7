"""Action Matching of a molecule: the potential of the path from noise to data, as a function of an energy.

On the straight path x = (1 - t) x_0 + t eps, in units of the noise's width (`scale`), the network is the energy
U(y; width) of y = x / (1 - t), scale back in nm, whose slope is minus the score of the noised data. Time runs from the
largest noise width (time 0) to the smallest (time 1), t = t_0 - T time. The velocity towards data and the score are
gradients, so the potential that Action Matching learns is known as a function of the energy:

    s(x, time) = T |x|^2 / (2 (1 - t)) - 1/2 (T g^2 + sigma^2) U(y; width) ,      g^2 = 2 t / (1 - t) ,

with the strength sigma of the noise of the entropic variant. The energy's part that is fitted in closed form and
|x|^2 / 2(1 - t) are known; the network learns the rest from the loss of Action Matching (`ActionLoss`). That loss holds
for the law from which its points come, so frames that were sampled under a bias are drawn with their weights.

The loss is that of a coordinate on average. Its value has no meaning by itself.

Source: Neklyudov et al., arXiv:2210.06662; the velocity as a function of the score: Lipman et al., arXiv:2210.02747.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.training.objectives.action_matching.marginals import Marginals
from tpsctl.training.objectives.action_matching.objective import ActionBatch, ActionLoss, ActionMatchingSettings
from tpsctl.training.objectives.base import NetworkT, Objective, Piece, fingerprint_of
from tpsctl.training.objectives.energy_denoising import EnergyDenoising, TrainingFrames
from tpsctl.training.targets import random_rotations

Energy = Callable[[Tensor, Tensor], Tensor]
"""U or its gradient: structures (batch, bead, 3), nm, and noise widths (batch,), nm, to kT or kT/nm."""


@dataclass(frozen=True)
class NoiseToDataPath:
    """The straight path between two noise widths, in units of its scale.

    Attributes:
        scale_nm: Width of the noise at t = 1, nm.
        smallest_nm: Noise width at time 1, nm.
        largest_nm: Noise width at time 0, nm.
        noise: Strength of the noise of the dynamics, scale per square root of the time from 0 to 1.
    """

    scale_nm: float
    smallest_nm: float
    largest_nm: float
    noise: float = 0.0

    @property
    def duration(self) -> float:
        """T, the part of the path in t."""
        return self._t(self.largest_nm) - self._t(self.smallest_nm)

    def t(self, time: Tensor) -> Tensor:
        """Time of the straight path, 0 at data, at times from noise (0) to data (1)."""
        return self._t(self.largest_nm) - self.duration * time

    def potential(self, energy: Energy, x: Float[Tensor, "batch bead 3"], time: Float[Tensor, " batch"]) -> Tensor:
        """The part of s that an energy makes, (batch,)."""
        y, width = self._seen(x, time)
        return -self._strength(time) * energy(y, width)

    def known_gradient(
        self, slope: Energy, x: Float[Tensor, "batch bead 3"], time: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch bead 3"]:
        """Gradient of T |x|^2 / (2 (1 - t)), and of the part that an energy with this slope makes."""
        y, width = self._seen(x, time)
        alpha = (1 - self.t(time)).reshape(-1, 1, 1)
        strength = self._strength(time).reshape(-1, 1, 1)
        return self.duration / alpha * x - strength * self.scale_nm / alpha * slope(y, width)

    def _t(self, width: float) -> float:
        return width / (width + self.scale_nm)

    def _strength(self, time: Tensor) -> Tensor:
        """Half of T g^2 + sigma^2."""
        t = self.t(time)
        return self.duration * t / (1 - t) + self.noise**2 / 2

    def _seen(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Structures and noise widths as the energy sees them, nm."""
        t = self.t(time)
        return self.scale_nm * x / (1 - t).reshape(-1, 1, 1), self.scale_nm * t / (1 - t)


class NoisedMolecule(Marginals):
    """Structures on the straight path, centered, in units of its scale; frames are drawn with their weights.

    Args:
        frames: Frames of equilibrium, or with known weights, nm.
        path: The path.
        turned: Whether every structure is shown in a random orientation.
    """

    def __init__(self, frames: TrainingFrames, path: NoiseToDataPath, *, turned: bool = False) -> None:
        self.dims = frames.positions[0].numel()
        self._positions, self._path, self._turned = center(frames.positions), path, turned
        weights = None if frames.bias is None else torch.softmax(frames.bias.log_weights.double(), 0)
        self._cumulative = None if weights is None else weights.cumsum(0)

    def draw(self, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        clean = self._positions[self._chosen(len(t), generator)] / self._path.scale_nm
        if self._turned:
            clean = clean @ random_rotations(len(t), generator, clean.dtype)
        noise = center(torch.randn(clean.shape, generator=generator, dtype=clean.dtype))
        first, middle, last = (self._mixed(clean, noise, self._path.t(time)) for time in (0 * t, t, 0 * t + 1))
        return first, middle, last

    def tensors(self) -> tuple[Tensor, ...]:
        return (self._positions,) if self._cumulative is None else (self._positions, self._cumulative)

    def _chosen(self, count: int, generator: torch.Generator) -> Tensor:
        if self._cumulative is None:
            return torch.randint(len(self._positions), (count,), generator=generator)
        u = torch.rand(count, generator=generator, dtype=torch.float64) * self._cumulative[-1]
        return torch.searchsorted(self._cumulative, u).clamp_max(len(self._positions) - 1)

    @staticmethod
    def _mixed(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        t = t.to(clean).reshape(-1, 1, 1)
        return (1 - t) * clean + t * noise


class EnergyActionMatching(Objective[ActionBatch, NetworkT]):
    """The loss of Action Matching for what the network adds to an energy that is fitted in closed form.

    Args:
        energy: The energy, with the preparation that fits its other part and makes its tables.
        marginals: Where structures come from.
        path: The path that they lie on.
        settings: Variant and size of a batch; `settings.noise` is that of the path.
    """

    def __init__(
        self,
        energy: EnergyDenoising[NetworkT],
        marginals: NoisedMolecule,
        path: NoiseToDataPath,
        settings: ActionMatchingSettings,
    ) -> None:
        self._energy, self._marginals, self._path = energy, marginals, path
        self._loss = ActionLoss(settings)
        self.times = self._loss.times

    @property
    def network(self) -> NetworkT:
        return self._energy.network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        return self._energy.trained_parameters

    @property
    def remark(self) -> str:
        return f"effective times {self.times.effective_fraction:.0%}"

    def preparation(self) -> Sequence[Piece]:
        return self._energy.preparation()

    def to(self, device: torch.device) -> None:
        self._energy.to(device)

    def draw(self, generator: torch.Generator) -> ActionBatch:
        return self._loss.draw(self._marginals, generator)

    def loss(self, batch: ActionBatch) -> Tensor:
        return self._loss(self._learned, batch, self._known) / self._marginals.dims

    def store(self) -> dict[str, Tensor]:
        return self._energy.store() | {"times": self.times.store()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.times.restore(tensors["times"])
        self._energy.restore({name: value for name, value in tensors.items() if name != "times"})

    def fingerprint(self) -> str:
        facts: list[Any] = [self._energy.fingerprint(), asdict(self._path), asdict(self._loss.settings)]
        return fingerprint_of(facts, self._marginals.tensors())

    def _learned(self, x: Tensor, time: Tensor) -> Tensor:
        return self._path.potential(self._energy.network_energy, x, time)

    def _known(self, x: Tensor, time: Tensor) -> Tensor:
        return self._path.known_gradient(self._energy.fitted_gradient, x.detach(), time.detach()).detach()

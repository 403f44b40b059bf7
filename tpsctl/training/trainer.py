"""Train an `InternalEnergy` on molecular dynamics frames.

Three parts: tables of feature means and spreads over noise widths; the closed-form fit of the linear
energy; stochastic gradient descent of the network on what the linear energy leaves over, with loss

    w(y) [ |r - s_net|^2 / R(sigma) + a mean_b (v_b . (r - s_net))^2 / R_b(sigma) ] ,    r = T - s_linear ,

v_b the unit rotations about rotatable bonds (the torsional part, which decides barriers and would be
lost among the bonds), R and R_b the mean squares of r and of its torques, so that every width and bond
counts alike. The targets T are those of `tpsctl.training.targets`.

Diffusion draws widths uniformly in log sigma, fewer of the small ones for which the linear energy suffices;
flow matching draws half of them uniformly in its own time, as its velocity loss does.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from tpsctl.errors import DataError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.linear import interpolate
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.score.schedule import NoiseSchedule
from tpsctl.training.linear_fit import fit_linear_energy, set_reference
from tpsctl.training.targets import Batch, KnownBias, TargetSource, internal_rotations

_SMALLEST_FEATURE_SPREAD = 1e-3
_TABLE_SAMPLES = 3000
_MOMENT_BATCHES = 4
_WARM_UP_STEPS = 200
_MOMENT_FLOOR = 0.1
_BANDS = ((0.02, 0.15), (0.5, 0.8), (math.inf, 0.05))
"""(upper edge in nm, share of the batch): most where basins and handedness are decided, little where the linear
energy suffices or nothing but the size of the molecule is left to know."""


@dataclass(frozen=True)
class TrainingSettings:
    """What a training run does.

    Attributes:
        smallest_width_nm: Smallest noise width, nm.
        largest_width_nm: Largest noise width, nm; several times the molecule.
        steps: Optimizer steps.
        batch: Structures per step.
        learning_rate: Peak of Adam's learning rate (cosine decay to 1 %).
        torsion_weight: Weight a of the torsional part of the loss.
        average: Decay of the running mean of the parameters per step.
        linear_samples: Structures per width in the linear fit.
        uniform_time: Fraction of widths drawn uniformly in the schedule's time, not in log sigma.
        seed: Seed of everything random.
    """

    smallest_width_nm: float = 0.00025
    largest_width_nm: float = 1.0
    steps: int = 20000
    batch: int = 256
    learning_rate: float = 1e-3
    torsion_weight: float = 1.0
    average: float = 0.999
    linear_samples: int = 8000
    uniform_time: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class TrainingFrames:
    """Clean frames: positions (frame, bead, 3) nm, scores F/kT in 1/nm or None, and the bias if there was one."""

    positions: Tensor
    scores: Tensor | None
    bias: KnownBias | None


class Trainer:
    """One training run; its state can be saved and continued exactly.

    Args:
        topology: The molecule.
        frames: Training frames, float32.
        sizes: Shapes of the network.
        schedule: Schedule in nm; only used for `uniform_time`.
        settings: See `TrainingSettings`.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        sizes: InternalEnergySizes,
        schedule: NoiseSchedule,
        settings: TrainingSettings,
    ) -> None:
        self.settings = settings
        self.sizes = sizes
        self._schedule = schedule
        self._frames = frames
        self._generator = torch.Generator().manual_seed(settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = InternalEnergy(topology, sizes)
        ends = math.log(settings.smallest_width_nm), math.log(settings.largest_width_nm)
        self._log_sigmas = torch.linspace(*ends, sizes.levels)
        self.network.linear.log_sigmas.copy_(self._log_sigmas)
        self._rotations = internal_rotations(topology)
        self._source = TargetSource(
            topology, frames.positions, frames.scores, frames.bias, self._log_sigmas, self._generator
        )
        self._parameters = dict(self.network.net.named_parameters())
        self._averages = {k: p.detach().clone() for k, p in self._parameters.items()}
        self._adam = torch.optim.Adam(self._parameters.values(), lr=settings.learning_rate, betas=(0.9, 0.99))
        self._moments = torch.ones(sizes.levels, 1 + len(topology.rotatable_bonds))
        self.step = 0

    def prepare(self, on_level: Callable[[int, int, list[float]], None] | None = None) -> None:
        """Tables and linear fit; called once before the first step of a new run."""
        set_reference(self.network.linear, self._frames.positions)
        levels = len(self._log_sigmas)
        for level, log_sigma in enumerate(self._log_sigmas):
            batch = self._source.draw(log_sigma.exp().expand(_TABLE_SAMPLES))
            features = self.network.features(self.network.coordinates(batch.y, batch.sigma))
            self.network.mean[level] = features.mean(0)
            self.network.std[level] = features.std(0).clamp_min(_SMALLEST_FEATURE_SPREAD)

        def report(level: int, explained: list[float]) -> None:
            if on_level is not None:
                on_level(level, levels, explained)

        samples = self.settings.linear_samples
        fit_linear_energy(
            self.network.linear, self._source, self._rotations, self._generator, samples=samples, on_level=report
        )
        self._tabulate_moments()

    def run(self, *, until: int | None = None) -> Iterator[tuple[int, float]]:
        """Steps up to `until` (default: all), yielding (steps done, loss) after each."""
        last = self.settings.steps if until is None else min(until, self.settings.steps)
        while self.step < last:
            yield self.step + 1, self._one_step()

    def averaged_network(self) -> InternalEnergy:
        """The network with its running-mean parameters (shared with `network`; call at the end)."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._averages[name])
        return self.network

    def store(self) -> dict[str, Tensor]:
        """Everything the next step depends on, copied."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._averages.items()}
        for name, parameter in self._parameters.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        tensors |= {"generator": self._generator.get_state(), "moments": self._moments}
        own = {"step": torch.tensor(self.step), "digest": torch.tensor(list(bytes.fromhex(self.digest)))}
        return {name: v.detach().clone() for name, v in tensors.items()} | own

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `store` gave.

        Raises:
            DataError: The state belongs to a run with other settings or data.
        """
        if bytes(tensors["digest"].tolist()).hex() != self.digest:
            raise DataError("state of a training with other settings or data. Use another output, or --overwrite.")
        self.network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        for name, parameter in self._parameters.items():
            self._averages[name] = tensors[f"average.{name}"]
            prefix = f"adam.{name}."
            self._adam.state[parameter] = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        self._moments = tensors["moments"]
        self._generator.set_state(tensors["generator"])
        self.step = int(tensors["step"])

    @cached_property
    def digest(self) -> str:
        """Hash of settings, shapes and data that a continued run must share."""
        shapes = {k: list(v.shape) for k, v in self.network.state_dict().items()}
        frames = self._frames
        facts = [asdict(self.settings), self._schedule.to_dict(), shapes, frames.scores is None, frames.bias is None]
        digest = hashlib.sha256(json.dumps(facts).encode())
        bias = () if frames.bias is None else (frames.bias.log_weights, frames.bias.quadruples)
        for tensor in (frames.positions, frames.scores, *bias):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _one_step(self) -> float:
        settings = self.settings
        progress = self.step / settings.steps
        rate = settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        self._adam.param_groups[0]["lr"] = rate * min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        self._adam.zero_grad(set_to_none=True)
        loss = self._loss(self._source.draw(self._widths()))
        loss.backward(inputs=list(self._parameters.values()))
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0)
        self._adam.step()
        decay = min(settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self._averages[name].lerp_(parameter, 1 - decay)
        self.step += 1
        return float(loss.detach())

    def _widths(self) -> Tensor:
        """Stratified noise widths for one batch, nm."""
        settings = self.settings
        shift = torch.rand((), generator=self._generator)
        u = (torch.arange(settings.batch) + shift) / settings.batch
        u = u[torch.randperm(settings.batch, generator=self._generator)]
        widths = self._law_of_widths(u)
        if settings.uniform_time:
            in_time = self._schedule.relative_sigma(u.double().clamp_max(1 - 1e-6)).float()
            chosen = torch.rand(settings.batch, generator=self._generator) < settings.uniform_time
            widths = torch.where(chosen, in_time, widths)
        return widths.clamp(settings.smallest_width_nm, settings.largest_width_nm)

    def _law_of_widths(self, u: Tensor) -> Tensor:
        """Widths at quantiles u in [0, 1): log-uniform within each band of `_BANDS`."""
        low, high = self.settings.smallest_width_nm, self.settings.largest_width_nm
        edges = [low, *(min(max(edge, low), high) for edge, _ in _BANDS[:-1]), high]
        widths, start = torch.full_like(u, low), 0.0
        for (_, share), a, b in zip(_BANDS, edges[:-1], edges[1:], strict=True):
            inside = (u >= start) & (u < start + share + 1e-6)
            widths = torch.where(inside, a * (b / a) ** ((u - start) / share), widths)
            start += share
        return widths

    def _residual(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(r, v): what the linear energy leaves of the target, and the unit rotations."""
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.network.linear(self.network.coordinates(y, batch.sigma), batch.sigma).sum(), y
        )
        return batch.target + gradient, self._rotations(batch.y)

    def _loss(self, batch: Batch) -> Tensor:
        residual, rotations = self._residual(batch)
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.network.residual(self.network.coordinates(y, batch.sigma), batch.sigma).sum(), y, create_graph=True
        )
        error = residual + gradient
        torque = (rotations * error.unsqueeze(1)).sum((2, 3))
        scale = interpolate(self._log_sigmas, self._moments, batch.sigma)
        cartesian = error.square().mean((1, 2)) / scale[:, 0]
        torsional = (torque.square() / scale[:, 1:]).mean(1)
        return (batch.weight * (cartesian + self.settings.torsion_weight * torsional)).mean()

    def _tabulate_moments(self) -> None:
        """Mean squares of the residual and of its torques at every width, with a floor from the target's own."""
        for level, log_sigma in enumerate(self._log_sigmas):
            squares = torch.zeros(self._moments.shape[1])
            for _ in range(_MOMENT_BATCHES):
                batch = self._source.draw(log_sigma.exp().expand(500))
                residual, rotations = self._residual(batch)
                squares += self._squares(batch, residual, rotations)
                squares += _MOMENT_FLOOR * self._squares(batch, batch.target, rotations)
            self._moments[level] = squares / _MOMENT_BATCHES

    @staticmethod
    def _squares(batch: Batch, vectors: Tensor, rotations: Tensor) -> Tensor:
        torque = (rotations * vectors.unsqueeze(1)).sum((2, 3))
        weight = batch.weight.unsqueeze(1)
        mean = (batch.weight * vectors.square().mean((1, 2))).mean().reshape(1)
        return torch.cat((mean, (weight * torque.square()).mean(0)))

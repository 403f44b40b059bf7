"""Denoising score matching of an `InternalEnergy` on molecular dynamics frames, with extra weight on torques.

The preparation makes tables of feature means and spreads over noise widths, fits the linear energy in closed form, and
measures its residual r. Gradient descent then trains the network to predict this residual, with the loss

    w(y) [ |r - s_net|^2 / R(sigma) + a mean_b (v_b . (r - s_net))^2 / R_b(sigma) ] ,    r = T - s_linear .

Here v_b are the unit rotations about rotatable bonds; this torsional part decides barriers, but is small beside the
part of the bonds. R and R_b are the mean squares of r and of its torques, so that every width and bond counts alike.
For flow matching, `VelocityWeights` take the place of R and R_b, and the loss is the regression of a velocity.
The targets T come from `tpsctl.training.targets`, the noise widths of a batch from a `WidthLaw`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.linear import interpolate
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.training.linear_fit import LinearFit, set_reference
from tpsctl.training.objectives.base import Objective, Pause, Piece, fingerprint_of, seeded
from tpsctl.training.objectives.velocity_weights import VelocityWeights
from tpsctl.training.targets import KnownBias, NoisedFrames, TargetSource, internal_rotations
from tpsctl.training.widths import WidthLaw

_SMALLEST_FEATURE_SPREAD = 1e-3
_TABLE_SAMPLES = 3000
_MOMENT_BATCHES = 4
_MOMENT_BATCH_SIZE = 500
_MOMENT_FLOOR = 0.1
HELD_OUT_BATCHES = 4
"""Size of the batch of held-out frames, in batches of the training."""


@dataclass(frozen=True)
class TrainingFrames:
    """Clean frames of molecular dynamics.

    Attributes:
        positions: Positions (frame, bead, 3), nm.
        scores: Physical forces over kT (frame, bead, 3), 1/nm, or None.
        bias: The bias under which the frames were sampled, or None.
    """

    positions: Tensor
    scores: Tensor | None
    bias: KnownBias | None


@dataclass(frozen=True)
class InternalEnergySettings:
    """Sizes and weights of the objective.

    Attributes:
        batch: Number of structures per step.
        torsion_weight: Weight a of the torsional part of the loss.
        linear_samples: Number of structures per width in the linear fit.
        seed: Seed of the network's initial parameters.
    """

    batch: int = 256
    torsion_weight: float = 1.0
    linear_samples: int = 8000
    seed: int = 0


class InternalEnergyDenoising(Objective[NoisedFrames, InternalEnergy]):
    """The denoising loss of an internal energy, with the tables and the linear fit on which it rests.

    Args:
        topology: The molecule.
        frames: Training frames, float32.
        sizes: Shapes of the network.
        widths: Law of the noise widths; tables are made from its smallest to its largest width.
        settings: See `InternalEnergySettings`.
        velocity: Weights that make the loss a regression of the velocity; None for every width to count alike.
        held_out: Frames of the same sort that are not learned from, for the loss on them; None for none.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        sizes: InternalEnergySizes,
        widths: WidthLaw,
        settings: InternalEnergySettings,
        velocity: VelocityWeights | None = None,
        held_out: TrainingFrames | None = None,
    ) -> None:
        self._velocity, self._topology, self._held_out = velocity, topology, held_out
        self.settings, self._frames, self._widths = settings, frames, widths
        self._network = seeded(settings.seed, lambda: InternalEnergy(topology, sizes))
        self._log_sigmas = torch.linspace(math.log(widths.smallest_nm), math.log(widths.largest_nm), sizes.levels)
        self._network.linear.log_sigmas.copy_(self._log_sigmas)
        self._rotations = internal_rotations(topology)
        self._source = TargetSource(topology, frames.positions, frames.scores, frames.bias, self._log_sigmas)
        self._fit = LinearFit(self._network.linear, self._source, self._rotations, samples=settings.linear_samples)
        self._moments = torch.ones(sizes.levels, 1 + len(topology.rotatable_bonds))

    @property
    def network(self) -> InternalEnergy:
        return self._network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters of the perceptron alone, because the linear energy is fitted in closed form."""
        return dict(self._network.net.named_parameters())

    def preparation(self) -> Sequence[Piece]:
        return [
            Piece("tables of the targets", self._prepare_targets),
            Piece("tables of the features", self._tabulate_features),
            *(self._linear_piece(number) for number in range(len(self._fit.widths_nm))),
            Piece("tables of the loss", self._tabulate_moments),
        ]

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._log_sigmas, self._moments = self._log_sigmas.to(device), self._moments.to(device)

    def draw(self, generator: torch.Generator) -> NoisedFrames:
        return self._source.draw(self._widths.draw(self.settings.batch, generator), generator)

    def held_out_batch(self, generator: torch.Generator) -> NoisedFrames | None:
        if self._held_out is None:
            return None
        sigma = self._widths.draw(HELD_OUT_BATCHES * self.settings.batch, generator)
        return draw_held_out(self._topology, self._held_out, self._source, sigma, generator)

    def loss(self, batch: NoisedFrames) -> Tensor:
        residual, rotations = self._residual(batch)
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.network.residual(self.network.coordinates(y, batch.sigma), batch.sigma).sum(), y, create_graph=True
        )
        error = residual + gradient
        torque = (rotations * error.unsqueeze(1)).sum((2, 3))
        of_error, of_torques = self._scales(batch, rotations)
        cartesian = error.square().mean((1, 2)) / of_error
        torsional = (torque.square() / of_torques).mean(1)
        return (batch.weight * (cartesian + self.settings.torsion_weight * torsional)).mean()

    def store(self) -> dict[str, Tensor]:
        tables = {f"targets.{name}": value for name, value in self._source.store().items()}
        return tables | {"moments": self._moments, "linear_solution": self._fit.solution}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self._source.restore({name: tensors[f"targets.{name}"] for name in self._source.store()})
        self._moments, self._fit.solution = tensors["moments"].to(self._moments), tensors["linear_solution"]

    def fingerprint(self) -> str:
        frames, widths = self._frames, self._widths
        law = [widths.smallest_nm, widths.largest_nm, widths.uniform_time, widths.schedule.to_dict()]
        facts = [asdict(self.settings), law, frames.scores is None, frames.bias is None]
        facts += [] if self._velocity is None else [self._velocity.facts]
        bias = () if frames.bias is None else (frames.bias.log_weights, frames.bias.quadruples)
        return fingerprint_of(facts, (frames.positions, frames.scores, *bias))

    def _prepare_targets(self, generator: torch.Generator, pause: Pause) -> str:
        self._source.prepare(generator, pause)
        return ""

    def _tabulate_features(self, generator: torch.Generator, pause: Pause) -> str:
        """Set the reference of the quadratic terms, then tabulate mean and spread of every feature at every width."""
        set_reference(self.network.linear, self._frames.positions)
        for level, log_sigma in enumerate(self._log_sigmas):
            pause()
            batch = self._source.draw(log_sigma.exp().expand(_TABLE_SAMPLES), generator)
            features = self.network.features(self.network.coordinates(batch.y, batch.sigma))
            self.network.mean[level] = features.mean(0)
            self.network.std[level] = features.std(0).clamp_min(_SMALLEST_FEATURE_SPREAD)
        return ""

    def _linear_piece(self, number: int) -> Piece:
        def run(generator: torch.Generator, pause: Pause) -> str:
            of_score, of_torques = self._fit.fit(number, generator, pause)
            return f"explains {of_score:.3f} of the score, {of_torques:.3f} of the torques"

        return Piece(f"linear fit at {self._fit.widths_nm[number][1]:.2g} nm", run)

    def _residual(self, batch: NoisedFrames) -> tuple[Tensor, Tensor]:
        """The residual r of the linear energy, (batch, bead, 3), 1/nm, and the unit rotations v_b."""
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.network.linear(self.network.coordinates(y, batch.sigma), batch.sigma).sum(), y
        )
        return batch.target + gradient, self._rotations(batch.y)

    def _scales(self, batch: NoisedFrames, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """By what squared errors (batch,) and squared torques (batch, bond) of the score are divided."""
        if self._velocity is not None:
            return self._velocity(batch.sigma, rotations)
        scale = interpolate(self._log_sigmas, self._moments, batch.sigma)
        return scale[:, 0], scale[:, 1:]

    def _tabulate_moments(self, generator: torch.Generator, pause: Pause) -> str:
        """Tabulate R and R_b at every width, with a floor of a tenth of the mean squares of the target."""
        for level, log_sigma in enumerate(self._log_sigmas):
            squares = torch.zeros(self._moments.shape[1])
            for _ in range(_MOMENT_BATCHES):
                pause()
                batch = self._source.draw(log_sigma.exp().expand(_MOMENT_BATCH_SIZE), generator)
                residual, rotations = self._residual(batch)
                squares += mean_squares(batch, residual, rotations)
                squares += _MOMENT_FLOOR * mean_squares(batch, batch.target, rotations)
            self._moments[level] = squares / _MOMENT_BATCHES
        return ""


def draw_held_out(
    topology: Topology, frames: TrainingFrames, training: TargetSource, sigma: Tensor, generator: torch.Generator
) -> NoisedFrames:
    """A batch of held-out frames at noise widths sigma (batch,), nm, with the tables of the training frames."""
    source = TargetSource(topology, frames.positions, frames.scores, frames.bias, training.log_sigmas)
    source.restore(training.store())
    return source.draw(sigma, generator)


def mean_squares(batch: NoisedFrames, vectors: Tensor, rotations: Tensor) -> Tensor:
    """Weighted mean squares of vectors (batch, bead, 3) and of their torques, (1 + bond,)."""
    torque = (rotations * vectors.unsqueeze(1)).sum((2, 3))
    weight = batch.weight.unsqueeze(1)
    mean = (batch.weight * vectors.square().mean((1, 2))).mean().reshape(1)
    return torch.cat((mean, (weight * torque.square()).mean(0)))

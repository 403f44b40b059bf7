"""Denoising score matching of an energy that has a part fitted in closed form and a network for the rest.

The preparation makes tables of the features, fits the pair energies at every noise width (`PairFit`), and measures what
they leave over, r = T - s_base. Gradient descent then trains the network on this residual with the loss

    w(y) [ |r - s_net|^2 / R(sigma) + a mean_b (v_b . (r - s_net))^2 / R_b(sigma) ] .

Here v_b are the unit rotations about the bonds of the chain; the mean squares R and R_b of r and of its torques let
every width and bond count alike. The torsional part sees the soft directions, which the Cartesian part hardly does
beside the stiff bonds. The targets T come from `tpsctl.training.targets`, the noise widths from a `WidthLaw`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import FittedEnergy
from tpsctl.networks.internal_energy.linear import interpolate
from tpsctl.training.objectives.base import Objective, Pause, Piece, fingerprint_of
from tpsctl.training.objectives.internal_energy import (
    HELD_OUT_BATCHES,
    TrainingFrames,
    draw_held_out,
    mean_squares,
)
from tpsctl.training.objectives.velocity_weights import VelocityWeights
from tpsctl.training.pair_fit import PairFit
from tpsctl.training.targets import NoisedFrames, TargetSource, internal_rotations
from tpsctl.training.widths import WidthLaw

_TABLE_SAMPLES = 3000
_MOMENT_BATCHES = 4
_MOMENT_BATCH_SIZE = 500
_MOMENT_FLOOR = 0.1


@dataclass(frozen=True)
class ResidualSettings:
    """Sizes and weights of the objective.

    Attributes:
        batch: Number of structures per step.
        torsion_weight: Weight a of the torsional part of the loss.
        fit_samples: Number of structures per width in the fit of the pair energies.
        fits_pairs: Whether pair energies are fitted; otherwise they stay 0, and the network learns everything.
    """

    batch: int = 256
    torsion_weight: float = 1.0
    fit_samples: int = 4000
    fits_pairs: bool = True


class ResidualDenoising(Objective[NoisedFrames, FittedEnergy]):
    """The denoising loss of a chain energy, with the tables and the fit on which it rests.

    Args:
        topology: The chain.
        frames: Training frames, float32.
        network: The energy; its tables and coefficients are set here.
        widths: Law of the noise widths; tables are made from its smallest to its largest width.
        settings: See `ResidualSettings`.
        velocity: Weights that make the loss a regression of the velocity; None for every width to count alike.
        held_out: Frames of the same sort that are not learned from, for the loss on them; None for none.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        network: FittedEnergy,
        widths: WidthLaw,
        settings: ResidualSettings,
        velocity: VelocityWeights | None = None,
        held_out: TrainingFrames | None = None,
    ) -> None:
        self._velocity, self._topology, self._held_out = velocity, topology, held_out
        self.settings, self._frames, self._widths, self._network = settings, frames, widths, network
        levels = len(network.pairs.log_sigmas)
        self._log_sigmas = torch.linspace(math.log(widths.smallest_nm), math.log(widths.largest_nm), levels)
        network.pairs.log_sigmas.copy_(self._log_sigmas)
        self._rotations = internal_rotations(topology)
        self._source = TargetSource(topology, frames.positions, frames.scores, frames.bias, self._log_sigmas)
        self._fit = PairFit(network.pairs, network.coordinates, self._source, samples=settings.fit_samples)
        self._moments = torch.ones(levels, 1 + len(topology.rotatable_bonds))

    @property
    def network(self) -> FittedEnergy:
        return self._network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters of the network for the rest alone, because the pair energies are fitted in closed form."""
        return dict(self._network.trained.named_parameters())

    def preparation(self) -> Sequence[Piece]:
        return [
            Piece("tables of the targets", self._prepare_targets),
            Piece("tables of the features", self._tabulate_features),
            *(self._fit_piece(level) for level in range(len(self._log_sigmas)) if self.settings.fits_pairs),
            Piece("tables of the loss", self._tabulate_moments),
        ]

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._log_sigmas, self._moments = self._log_sigmas.to(device), self._moments.to(device)

    def draw(self, generator: torch.Generator) -> NoisedFrames:
        batch = self._source.draw(self._widths.draw(self.settings.batch, generator), generator)
        return batch.turned(generator) if self._network.sees_directions else batch

    def held_out_batch(self, generator: torch.Generator) -> NoisedFrames | None:
        if self._held_out is None:
            return None
        sigma = self._widths.draw(HELD_OUT_BATCHES * self.settings.batch, generator)
        batch = draw_held_out(self._topology, self._held_out, self._source, sigma, generator)
        return batch.turned(generator) if self._network.sees_directions else batch

    def loss(self, batch: NoisedFrames) -> Tensor:
        residual, rotations = self._residual(batch)
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.network.residual(y, batch.sigma).sum(), y, create_graph=True)
        error = residual + gradient
        torque = (rotations * error.unsqueeze(1)).sum((2, 3))
        of_error, of_torques = self._scales(batch, rotations)
        cartesian = error.square().mean((1, 2)) / of_error
        torsional = (torque.square() / of_torques).mean(1)
        return (batch.weight * (cartesian + self.settings.torsion_weight * torsional)).mean()

    def store(self) -> dict[str, Tensor]:
        tables = {f"targets.{name}": value for name, value in self._source.store().items()}
        return tables | {"moments": self._moments}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self._source.restore({name: tensors[f"targets.{name}"] for name in self._source.store()})
        self._moments = tensors["moments"].to(self._moments)

    def fingerprint(self) -> str:
        frames = self._frames
        facts = [asdict(self.settings), self._widths.facts(), frames.scores is None, frames.bias is None]
        facts += [] if self._velocity is None else [self._velocity.facts]
        bias = () if frames.bias is None else (frames.bias.log_weights, frames.bias.quadruples)
        return fingerprint_of(facts, (frames.positions, frames.scores, *bias))

    def _prepare_targets(self, generator: torch.Generator, pause: Pause) -> str:
        self._source.prepare(generator, pause)
        return ""

    def _tabulate_features(self, generator: torch.Generator, pause: Pause) -> str:
        """Set the tables of the network at every width."""
        for level, log_sigma in enumerate(self._log_sigmas):
            pause()
            batch = self._source.draw(log_sigma.exp().expand(_TABLE_SAMPLES), generator)
            self.network.tabulate(level, batch.y)
        return ""

    def _fit_piece(self, level: int) -> Piece:
        def run(generator: torch.Generator, pause: Pause) -> str:
            return f"explains {self._fit.fit(level, generator, pause):.3f} of the score"

        return Piece(f"pair energies at {self._fit.widths_nm[level]:.2g} nm", run)

    def _residual(self, batch: NoisedFrames) -> tuple[Tensor, Tensor]:
        """What the pair energies leave of the targets, (batch, bead, 3), 1/nm, and the unit rotations v_b."""
        return batch.target + self.network.base_gradient(batch.y, batch.sigma), self._rotations(batch.y)

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

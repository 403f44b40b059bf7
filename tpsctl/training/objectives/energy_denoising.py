"""Denoising score matching of an energy that has a part fitted in closed form and a network for the rest.

The preparation makes tables of the features over noise widths, fits one part of the energy in closed form, and measures
what it leaves over, r = T - s_fitted. Gradient descent then trains the network on this residual with the loss

    w(y) [ |r - s_net|^2 / R(sigma) + a mean_b (v_b . (r - s_net))^2 / R_b(sigma) ] .

Here v_b are the unit rotations about rotatable bonds; the mean squares R and R_b of r and of its torques let every
width and bond count alike. The torsional part sees the soft directions, which the Cartesian part hardly does beside the
stiff bonds. For other objectives, `ErrorWeights` take the place of R and R_b: those of a velocity for flow matching,
those of the action principle for score matching. The targets T come from `tpsctl.training.targets`, the noise widths of
a batch from `NoiseWidths`.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.linear import interpolate
from tpsctl.training.objectives.base import NetworkT, Objective, Pause, Piece, fingerprint_of
from tpsctl.training.objectives.error_weights import ErrorWeights
from tpsctl.training.targets import KnownBias, NoisedFrames, TargetSource, internal_rotations
from tpsctl.training.widths import NoiseWidths

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
class DenoisingSettings:
    """What the settings of all such objectives have in common.

    Attributes:
        batch: Number of structures per step.
        torsion_weight: Weight a of the torsional part of the loss.
    """

    batch: int = 256
    torsion_weight: float = 1.0


class EnergyDenoising(Objective[NoisedFrames, NetworkT]):
    """The denoising loss of an energy, with the tables and the fit on which it rests.

    Args:
        topology: The molecule.
        frames: Training frames, float32.
        levels: Number of noise widths in the tables.
        widths: Law of the noise widths; tables are made from its smallest to its largest width.
        settings: Sizes and weights.
        weights: How much errors count at a noise width; None for every width to count alike.
        held_out: Frames of the same sort that are not learned from, for the loss on them; None for none.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        levels: int,
        widths: NoiseWidths,
        settings: DenoisingSettings,
        weights: ErrorWeights | None,
        held_out: TrainingFrames | None,
    ) -> None:
        self._weights, self._topology, self._held_out = weights, topology, held_out
        self._settings, self._frames, self._widths = settings, frames, widths
        self._log_sigmas = torch.linspace(math.log(widths.smallest_nm), math.log(widths.largest_nm), levels)
        self._rotations = internal_rotations(topology)
        self._source = TargetSource(topology, frames.positions, frames.scores, frames.bias, self._log_sigmas)
        self._moments = torch.ones(levels, 1 + len(topology.rotatable_bonds))

    @abstractmethod
    def _fit_pieces(self) -> Sequence[Piece]:
        """The pieces that fit the part of the energy in closed form."""

    @abstractmethod
    def _tabulate(self, level: int, batch: NoisedFrames) -> None:
        """Set the tables of the network at one noise width."""

    @abstractmethod
    def network_energy(self, y: Tensor, sigma: Tensor) -> Tensor:
        """The network's part of the energy of noised structures, (batch,), kT."""

    @abstractmethod
    def fitted_gradient(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Gradient of the fitted part of the energy, (batch, bead, 3), kT/nm."""

    @property
    def sees_directions(self) -> bool:
        """Whether the network has to be shown structures in all orientations."""
        return False

    def _shown(self, batch: NoisedFrames, generator: torch.Generator) -> NoisedFrames:
        """A batch as the network is to see it: by default as it was drawn."""
        return batch

    def preparation(self) -> Sequence[Piece]:
        return [
            Piece("tables of the targets", self._prepare_targets),
            Piece("tables of the features", self._tabulate_features),
            *self._fit_pieces(),
            Piece("tables of the loss", self._tabulate_moments),
        ]

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._log_sigmas, self._moments = self._log_sigmas.to(device), self._moments.to(device)

    def draw(self, generator: torch.Generator) -> NoisedFrames:
        batch = self._source.draw(self._widths.draw(self._settings.batch, generator), generator)
        return self._shown(batch, generator)

    def held_out_batch(self, generator: torch.Generator) -> NoisedFrames | None:
        if self._held_out is None:
            return None
        frames, sigma = self._held_out, self._widths.draw(HELD_OUT_BATCHES * self._settings.batch, generator)
        source = TargetSource(self._topology, frames.positions, frames.scores, frames.bias, self._source.log_sigmas)
        source.restore(self._source.store())
        return self._shown(source.draw(sigma, generator), generator)

    def loss(self, batch: NoisedFrames) -> Tensor:
        y = batch.y.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.network_energy(y, batch.sigma).sum(), y, create_graph=True)
        return self.loss_of(batch, gradient)

    def loss_of(self, batch: NoisedFrames, gradient: Tensor) -> Tensor:
        """The loss on a batch, given the gradient of the network's part of the energy (batch, bead, 3), kT/nm."""
        residual, rotations = self._residual(batch)
        error = residual + gradient
        torque = (rotations * error.unsqueeze(1)).sum((2, 3))
        of_error, of_torques = self._scales(batch, rotations)
        cartesian = error.square().mean((1, 2)) / of_error
        torsional = (torque.square() / of_torques).mean(1)
        return (batch.weight * (cartesian + self._settings.torsion_weight * torsional)).mean()

    def store(self) -> dict[str, Tensor]:
        tables = {f"targets.{name}": value for name, value in self._source.store().items()}
        return tables | {"moments": self._moments}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self._source.restore({name: tensors[f"targets.{name}"] for name in self._source.store()})
        self._moments = tensors["moments"].to(self._moments)

    def fingerprint(self) -> str:
        frames = self._frames
        facts = [asdict(self._settings), self._widths.facts(), frames.scores is None, frames.bias is None]
        facts += [] if self._weights is None else [self._weights.facts]
        bias = () if frames.bias is None else (frames.bias.log_weights, frames.bias.quadruples)
        return fingerprint_of(facts, (frames.positions, frames.scores, *bias))

    def _prepare_targets(self, generator: torch.Generator, pause: Pause) -> str:
        self._source.prepare(generator, pause)
        return ""

    def _tabulate_features(self, generator: torch.Generator, pause: Pause) -> str:
        """Set the tables of the network at every width."""
        for level, log_sigma in enumerate(self._log_sigmas):
            pause()
            self._tabulate(level, self._source.draw(log_sigma.exp().expand(_TABLE_SAMPLES), generator))
        return ""

    def _residual(self, batch: NoisedFrames) -> tuple[Tensor, Tensor]:
        """What the fitted part leaves of the targets, (batch, bead, 3), 1/nm, and the unit rotations v_b."""
        return batch.target + self.fitted_gradient(batch.y, batch.sigma), self._rotations(batch.y)

    def _scales(self, batch: NoisedFrames, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """By what squared errors (batch,) and squared torques (batch, bond) of the score are divided."""
        if self._weights is not None:
            return self._weights(batch.sigma, rotations)
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


def mean_squares(batch: NoisedFrames, vectors: Tensor, rotations: Tensor) -> Tensor:
    """Weighted mean squares of vectors (batch, bead, 3) and of their torques, (1 + bond,)."""
    torque = (rotations * vectors.unsqueeze(1)).sum((2, 3))
    weight = batch.weight.unsqueeze(1)
    mean = (batch.weight * vectors.square().mean((1, 2))).mean().reshape(1)
    return torch.cat((mean, (weight * torque.square()).mean(0)))

"""Denoising score matching of an `InternalEnergy` on molecular dynamics frames.

The part that is fitted in closed form is the linear energy of bonds, angles, torsions and pairs (`LinearFit`), and the
network is a perceptron of internal coordinates. The loss is that of `tpsctl.training.objectives.energy_denoising`; its
torsional part decides barriers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.training.linear_fit import LinearFit, set_reference
from tpsctl.training.objectives.base import Pause, Piece, seeded
from tpsctl.training.objectives.energy_denoising import DenoisingSettings, EnergyDenoising, TrainingFrames
from tpsctl.training.objectives.error_weights import ErrorWeights
from tpsctl.training.targets import NoisedFrames
from tpsctl.training.widths import NoiseWidths

_SMALLEST_FEATURE_SPREAD = 1e-3


@dataclass(frozen=True)
class InternalEnergySettings(DenoisingSettings):
    """Sizes and weights of the objective, beside those of `DenoisingSettings`.

    Attributes:
        linear_samples: Number of structures per width in the linear fit.
        seed: Seed of the network's initial parameters.
    """

    linear_samples: int = 8000
    seed: int = 0


class InternalEnergyDenoising(EnergyDenoising[InternalEnergy]):
    """The denoising loss of an internal energy, with the tables and the linear fit on which it rests.

    Args:
        topology: The molecule.
        frames: Training frames, float32.
        sizes: Shapes of the network.
        widths: Law of the noise widths; tables are made from its smallest to its largest width.
        settings: See `InternalEnergySettings`.
        weights: How much errors count at a noise width; None for every width to count alike.
        held_out: Frames of the same sort that are not learned from, for the loss on them; None for none.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        sizes: InternalEnergySizes,
        widths: NoiseWidths,
        settings: InternalEnergySettings,
        weights: ErrorWeights | None = None,
        held_out: TrainingFrames | None = None,
    ) -> None:
        super().__init__(topology, frames, sizes.levels, widths, settings, weights, held_out)
        self._network = seeded(settings.seed, lambda: InternalEnergy(topology, sizes))
        self._network.linear.log_sigmas.copy_(self._log_sigmas)
        self._fit = LinearFit(self._network.linear, self._source, self._rotations, samples=settings.linear_samples)

    @property
    def network(self) -> InternalEnergy:
        return self._network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters of the perceptron alone, because the linear energy is fitted in closed form."""
        return dict(self._network.net.named_parameters())

    def store(self) -> dict[str, Tensor]:
        return super().store() | {"linear_solution": self._fit.solution}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        super().restore(tensors)
        self._fit.solution = tensors["linear_solution"]

    def _fit_pieces(self) -> Sequence[Piece]:
        return [self._linear_piece(number) for number in range(len(self._fit.widths_nm))]

    def _linear_piece(self, number: int) -> Piece:
        def run(generator: torch.Generator, pause: Pause) -> str:
            of_score, of_torques = self._fit.fit(number, generator, pause)
            return f"explains {of_score:.3f} of the score, {of_torques:.3f} of the torques"

        return Piece(f"linear fit at {self._fit.widths_nm[number][1]:.2g} nm", run)

    def _tabulate_features(self, generator: torch.Generator, pause: Pause) -> str:
        """Set the reference of the quadratic terms, then tabulate mean and spread of every feature at every width."""
        set_reference(self.network.linear, self._frames.positions)
        return super()._tabulate_features(generator, pause)

    def _tabulate(self, level: int, batch: NoisedFrames) -> None:
        features = self.network.features(self.network.coordinates(batch.y, batch.sigma))
        self.network.mean[level] = features.mean(0)
        self.network.std[level] = features.std(0).clamp_min(_SMALLEST_FEATURE_SPREAD)

    def network_energy(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.network.residual(self.network.coordinates(y, sigma), sigma)

    def fitted_gradient(self, y: Tensor, sigma: Tensor) -> Tensor:
        y = y.detach().requires_grad_(True)
        energy = self.network.linear(self.network.coordinates(y, sigma), sigma)
        return torch.autograd.grad(energy.sum(), y)[0]

"""Denoising score matching of an energy of a chain of beads: pair energies in closed form, a network for the rest.

The pair energies are fitted at every noise width by `PairFit`. The loss is that of
`tpsctl.training.objectives.energy_denoising`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import FittedEnergy
from tpsctl.training.objectives.base import Pause, Piece
from tpsctl.training.objectives.energy_denoising import DenoisingSettings, EnergyDenoising, TrainingFrames
from tpsctl.training.objectives.error_weights import ErrorWeights
from tpsctl.training.pair_fit import PairFit
from tpsctl.training.targets import NoisedFrames
from tpsctl.training.widths import NoiseWidths


@dataclass(frozen=True)
class ResidualSettings(DenoisingSettings):
    """Sizes and weights of the objective, beside those of `DenoisingSettings`.

    Attributes:
        fit_samples: Number of structures per width in the fit of the pair energies.
        fits_pairs: Whether pair energies are fitted; otherwise they stay 0, and the network learns everything.
    """

    fit_samples: int = 4000
    fits_pairs: bool = True


class ResidualDenoising(EnergyDenoising[FittedEnergy]):
    """The denoising loss of a chain energy, with the tables and the fit on which it rests.

    Args:
        topology: The chain.
        frames: Training frames, float32.
        network: The energy; its tables and coefficients are set here.
        widths: Law of the noise widths; tables are made from its smallest to its largest width.
        settings: See `ResidualSettings`.
        weights: How much errors count at a noise width; None for every width to count alike.
        held_out: Frames of the same sort that are not learned from, for the loss on them; None for none.
    """

    def __init__(
        self,
        topology: Topology,
        frames: TrainingFrames,
        network: FittedEnergy,
        widths: NoiseWidths,
        settings: ResidualSettings,
        weights: ErrorWeights | None = None,
        held_out: TrainingFrames | None = None,
    ) -> None:
        super().__init__(topology, frames, len(network.pairs.log_sigmas), widths, settings, weights, held_out)
        self._network, self._fits_pairs = network, settings.fits_pairs
        network.pairs.log_sigmas.copy_(self._log_sigmas)
        self._fit = PairFit(network.pairs, network.coordinates, self._source, samples=settings.fit_samples)

    @property
    def network(self) -> FittedEnergy:
        return self._network

    @property
    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters of the network for the rest alone, because the pair energies are fitted in closed form."""
        return dict(self._network.trained.named_parameters())

    def _fit_pieces(self) -> Sequence[Piece]:
        return [self._fit_piece(level) for level in range(len(self._log_sigmas)) if self._fits_pairs]

    def _fit_piece(self, level: int) -> Piece:
        def run(generator: torch.Generator, pause: Pause) -> str:
            return f"explains {self._fit.fit(level, generator, pause):.3f} of the score"

        return Piece(f"pair energies at {self._fit.widths_nm[level]:.2g} nm", run)

    @property
    def sees_directions(self) -> bool:
        return self._network.sees_directions

    def _shown(self, batch: NoisedFrames, generator: torch.Generator) -> NoisedFrames:
        """A batch in random orientations, if the network sees directions."""
        return batch.turned(generator) if self.sees_directions else batch

    def _tabulate(self, level: int, batch: NoisedFrames) -> None:
        self.network.tabulate(level, batch.y)

    def network_energy(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.network.residual(y, sigma)

    def fitted_gradient(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.network.base_gradient(y, sigma)

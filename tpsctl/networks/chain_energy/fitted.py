"""What energies of chains have in common: a pair energy fitted in closed form, and a network trained for the rest."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.coordinates import ChainCoordinates
from tpsctl.networks.chain_energy.pair_energy import PairEnergy

PAIRS, PAIRS_AND_ANGLES = 1, 2
"""Sorts of coordinates whose energies are fitted in closed form: by models of earlier versions, and by those now."""


def fitted_count(topology: Topology, fitted: int) -> int:
    """Number of coordinates whose energies are fitted: `PAIRS`, or `PAIRS_AND_ANGLES`."""
    pairs = topology.n_atoms * (topology.n_atoms - 1) // 2
    return pairs + (len(topology.angles) if fitted == PAIRS_AND_ANGLES else 0)


class FittedEnergy(nn.Module, ABC):
    """The energy U(y; sigma), in kT, of positions y (nm) with noise of width sigma (nm).

    Args:
        topology: Beads with bonds.
        levels: Number of noise widths in the tables.
        gaussians: Number of Gaussians per pair.
        resolution: Standard deviation of a distance in units of the least width of its Gaussians.
        fitted: Sorts of coordinates whose energies are fitted: `PAIRS`, or `PAIRS_AND_ANGLES`.

    Attributes:
        coordinates: Distances, angles and handedness of the chain.
        pairs: The fitted energy.
        sees_directions: Whether the network's part changes when a molecule turns, so that training has to show it in
            all orientations.
    """

    sees_directions: bool = False

    def __init__(self, topology: Topology, levels: int, gaussians: int, resolution: int, fitted: int) -> None:
        super().__init__()
        self.coordinates = ChainCoordinates(topology, angles=fitted == PAIRS_AND_ANGLES)
        self.pairs = PairEnergy(self.coordinates.n_fitted, levels, gaussians, resolution)

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The network whose parameters are trained."""

    @abstractmethod
    def tabulate(self, level: int, y: Float[Tensor, "sample bead 3"]) -> None:
        """Set the tables of one noise width from noised structures, nm."""

    @abstractmethod
    def residual(
        self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        """The network's part of U."""

    def base(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        """The part of U that is fitted in closed form."""
        return self.pairs(self.coordinates.fitted(self.coordinates.vectors(y)), sigma)

    def base_gradient(
        self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, "batch bead 3"]:
        """Gradient of `base` with respect to y, kT/nm; in closed form, in half the time of autograd."""
        vectors = self.coordinates.vectors(y)
        rate = self.pairs.tables(sigma).rate(self.coordinates.fitted(vectors))
        return self.coordinates.pull(vectors, rate)

    def level(self, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch_or_1"]:
        """log sigma, mapped linearly so that the smallest noise width has level 0 and the largest has level 1."""
        levels = self.pairs.log_sigmas
        return ((sigma.log() - levels[0]) / (levels[-1] - levels[0])).clamp(0, 1)

    @property
    def largest_width(self) -> float:
        """Largest noise width of the tables, nm."""
        return float(torch.exp(self.pairs.log_sigmas[-1]))

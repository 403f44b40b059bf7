"""Scalar energy of a chain of beads on noised structures, from pair distances and handedness.

    U(y; sigma) = U_pairs(r(y); sigma) + net( z(r; sigma), (h - mean(sigma)) / std(sigma) ; log sigma )

The pair energy (`PairEnergy`) is fitted in closed form; the network, a perceptron conditioned on log sigma, learns what
the pairs leave over: angles, torsions, cooperativity and handedness. The score -grad_y U is a gradient by construction,
invariant under translation and equivariant under rotation, and it distinguishes mirror images.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.coordinates import ChainCoordinates, ChainValues
from tpsctl.networks.chain_energy.pair_energy import PairEnergy
from tpsctl.networks.conditioned_perceptron import ConditionedPerceptron


@dataclass(frozen=True)
class ChainEnergySizes:
    """Hyper-parameters that fix the shapes of a `ChainEnergy`.

    Attributes:
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        levels: Noise widths in the tables.
        embedding: Number of radial functions that embed log sigma.
        gaussians: Number of Gaussians per pair.
    """

    hidden: int = 192
    layers: int = 3
    levels: int = 16
    embedding: int = 16
    gaussians: int = 8

    def to_dict(self) -> dict[str, Any]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


class ChainEnergy(nn.Module):
    """The energy U(y; sigma), in kT, of positions y (nm) with noise of width sigma (nm).

    Args:
        topology: Beads with bonds.
        sizes: Shapes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, topology: Topology, sizes: ChainEnergySizes) -> None:
        super().__init__()
        self.coordinates = ChainCoordinates(topology)
        self.pairs = PairEnergy(self.coordinates.n_pairs, sizes.levels, sizes.gaussians)
        n_triples = self.coordinates.n_triples
        self.register_buffer("mean", torch.zeros(sizes.levels, n_triples))
        self.register_buffer("std", torch.ones(sizes.levels, n_triples))
        n_features = self.coordinates.n_pairs + n_triples
        self.net = ConditionedPerceptron(n_features, sizes.hidden, sizes.layers, sizes.embedding)

    def forward(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        values = self.coordinates(y)
        return self.pairs(values.distances, sigma) + self.net(self.features(values, sigma), self.level(sigma))

    def base(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        """The part of U that is fitted in closed form."""
        return self.pairs(self.coordinates(y).distances, sigma)

    def residual(
        self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        """The network's part of U."""
        return self.net(self.features(self.coordinates(y), sigma), self.level(sigma))

    def features(self, values: ChainValues, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, "batch feature"]:
        """Normalized inputs of the network: distances, then handedness."""
        triples = (values.handedness - self.pairs.at(self.mean, sigma)) / self.pairs.at(self.std, sigma)
        return torch.cat((self.pairs.normalized(values.distances, sigma), triples), 1)

    def level(self, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch_or_1"]:
        """log sigma, mapped linearly so that the smallest noise width has level 0 and the largest has level 1."""
        levels = self.pairs.log_sigmas
        return ((sigma.log() - levels[0]) / (levels[-1] - levels[0])).clamp(0, 1)

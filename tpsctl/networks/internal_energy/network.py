"""Scalar energy of a small molecule on noised structures, from internal coordinates.

    U(y; sigma) = U_linear(y; sigma) + net( (f(y) - mean(sigma)) / std(sigma) ; log sigma )

The features f are distances, torsions (cos, sin) and handedness; mean and std come from a table over noise
widths, so that every input is of order one at every width. The network is a multi-layer perceptron; an
embedding of log sigma scales and shifts its hidden layers (FiLM, arXiv:1709.07871). The score -grad_y U is a
gradient by construction, invariant under translation and equivariant under rotation, and it distinguishes
mirror images.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.topology import Topology
from tpsctl.networks.conditioned_perceptron import ConditionedPerceptron
from tpsctl.networks.internal_energy.coordinates import InternalCoordinates, Invariants
from tpsctl.networks.internal_energy.linear import LinearEnergy, interpolate


@dataclass(frozen=True)
class InternalEnergySizes:
    """Hyper-parameters that fix the shapes of an `InternalEnergy`.

    Attributes:
        hidden: Width of the hidden layers.
        layers: Number of hidden layers.
        levels: Noise widths in the tables.
        embedding: Number of radial functions that embed log sigma.
    """

    hidden: int = 384
    layers: int = 3
    levels: int = 32
    embedding: int = 24

    def to_dict(self) -> dict[str, Any]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


class InternalEnergy(nn.Module):
    """The energy U(y; sigma), in kT, of positions y (nm) with noise of width sigma (nm).

    Args:
        topology: Molecule with bonds.
        sizes: Shapes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, topology: Topology, sizes: InternalEnergySizes) -> None:
        super().__init__()
        self.coordinates = InternalCoordinates(topology)
        self.linear = LinearEnergy(self.coordinates, sizes.levels)
        c = self.coordinates
        n_features = c.n_pairs + 2 * c.n_proper + c.n_handedness
        self.register_buffer("mean", torch.zeros(sizes.levels, n_features))
        self.register_buffer("std", torch.ones(sizes.levels, n_features))
        self.net = ConditionedPerceptron(n_features, sizes.hidden, sizes.layers, sizes.embedding)

    def features(self, values: Invariants) -> Float[Tensor, "batch feature"]:
        """Inputs of the network before normalization."""
        proper = slice(self.coordinates.n_proper)
        return torch.cat((values.distances, values.cos[:, proper], values.sin[:, proper], values.handedness), 1)

    def normalized(self, features: Tensor, sigma: Tensor) -> Tensor:
        """Features minus their mean at sigma, divided by their standard deviation at sigma."""
        levels = self.linear.log_sigmas
        return (features - interpolate(levels, self.mean, sigma)) / interpolate(levels, self.std, sigma)

    def residual(self, values: Invariants, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        """The network's part of U."""
        return self.net(self.normalized(self.features(values), sigma), self.level(sigma))

    def forward(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        values = self.coordinates(y, sigma)
        return self.linear(values, sigma) + self.residual(values, sigma)

    def level(self, sigma: Tensor) -> Tensor:
        """log sigma, mapped linearly so that the smallest noise width has level 0 and the largest has level 1."""
        levels = self.linear.log_sigmas
        return ((sigma.log() - levels[0]) / (levels[-1] - levels[0])).clamp(0, 1)

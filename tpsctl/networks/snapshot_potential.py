"""A scalar potential of beads and time, for fields between snapshots of a process.

A single bead enters by its coordinates, several beads by all their distances, so that moving or turning a molecule
changes neither the potential nor, apart from turning it, its gradient. Distances do not tell a molecule from its mirror
image. Features are divided by their spread over the snapshots after their mean is taken off.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.networks.potential_perceptron import PotentialPerceptron


@dataclass(frozen=True)
class SnapshotPotentialSizes:
    """Shapes of the network.

    Attributes:
        beads: Beads per configuration.
        dims: Coordinates per bead.
        hidden: Width of the hidden layers.
        layers: Number of linear layers.
    """

    beads: int
    dims: int
    hidden: int
    layers: int

    @property
    def features(self) -> int:
        """Number of features: coordinates of one bead, or distances of several."""
        return self.dims if self.beads == 1 else self.beads * (self.beads - 1) // 2

    def to_dict(self) -> dict[str, int]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


class SnapshotPotential(nn.Module):
    """Maps configurations and times to scalars.

    Args:
        sizes: Shapes of the network.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, sizes: SnapshotPotentialSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.perceptron = PotentialPerceptron(PerceptronSizes(sizes.features, sizes.hidden, sizes.layers, "swish"))
        self.register_buffer("mean", torch.zeros(sizes.features))
        self.register_buffer("spread", torch.ones(sizes.features))

    def fit_features(self, x: Float[Tensor, "batch bead dim"]) -> None:
        """Take mean and spread of the features from configurations; one spread for all coordinates of a bead."""
        features = self.features(x)
        variance = features.var(0)
        if self.sizes.beads == 1:
            variance = variance.mean().expand_as(variance)
        self.mean.copy_(features.mean(0))
        self.spread.copy_(variance.sqrt().clamp_min(1e-6))

    def features(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch feature"]:
        """Coordinates of one bead, or distances of several."""
        if self.sizes.beads == 1:
            return x.squeeze(1)
        first, second = torch.triu_indices(self.sizes.beads, self.sizes.beads, 1, device=x.device)
        return (x[:, first] - x[:, second]).norm(dim=-1)

    def forward(self, x: Float[Tensor, "batch bead dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return self.perceptron((self.features(x) - self.mean) / self.spread, t)

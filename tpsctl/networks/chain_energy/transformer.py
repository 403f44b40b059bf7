"""Energy of a chain of beads with a graph transformer on top of the fitted pair energies, or alone.

    U(y; sigma) = U_pairs(r(y); sigma) - E( c y ; level(sigma) ) / (sigma c) ,      c = 1 / sqrt(scale^2 + sigma^2)

E is the sum of the energies that a graph transformer gives to the beads, in the convention of the published networks:
-dE/d(c y) estimates the noise, so without pair energies the score is -noise / sigma. Its inputs have about unit
variance at every width; `scale` is the root mean square coordinate of the data. The weights are those of a
`GraphTransformer`: inference freezes them (`FrozenGraphTransformer`), and a checkpoint of the published kind may hold
the same tensors.

Pairs see displacements, so U changes when the molecule turns; training shows it in random orientations.
"""

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.fitted import PAIRS, FittedEnergy
from tpsctl.networks.chain_energy.pair_energy import COARSE
from tpsctl.networks.graph_transformer.network import BeadNetwork, Beads, GraphTransformer, GraphTransformerSizes


@dataclass(frozen=True)
class TransformerEnergySizes:
    """Hyper-parameters that fix the shapes of a `TransformerEnergy`.

    Attributes:
        hidden: Width of the nodes.
        layers: Number of blocks.
        heads: Attention heads.
        head_dim: Width of a head.
        levels: Noise widths in the tables.
        gaussians: Number of Gaussians per pair.
        resolution: Standard deviation of a distance in units of the least width of its Gaussians; models of earlier
            versions have 4, too few for native contacts.
        fitted: Sorts of coordinates whose energies are fitted: 1 for pairs, 2 for pairs and bond angles.
    """

    hidden: int = 64
    layers: int = 2
    heads: int = 8
    head_dim: int = 16
    levels: int = 16
    gaussians: int = 8
    resolution: int = COARSE
    fitted: int = PAIRS

    def to_dict(self) -> dict[str, Any]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)

    def of_network(self, slots: int, types: int = 0) -> GraphTransformerSizes:
        """Shapes of the graph transformer for so many beads, each of which has a slot, and types with an embedding."""
        return GraphTransformerSizes(
            slots=slots,
            types=types,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            head_dim=self.head_dim,
            positions=False,
            displacements=True,
            distances=True,
            outputs=1,
        )


class BeadTransformerEnergy(FittedEnergy):
    """The energy U(y; sigma), in kT, of positions y (nm) with noise of width sigma (nm), by any graph transformer.

    Args:
        topology: Beads with bonds.
        sizes: Shapes.
    """

    sees_directions = True
    scale: Tensor

    def __init__(self, topology: Topology, sizes: TransformerEnergySizes) -> None:
        super().__init__(topology, sizes.levels, sizes.gaussians, sizes.resolution, sizes.fitted)
        self.register_buffer("scale", torch.ones(()))

    @property
    @abstractmethod
    def trained(self) -> GraphTransformer:
        """The transformer."""

    @property
    @abstractmethod
    def beads(self) -> Beads:
        """The beads as the transformer knows them."""

    def tabulate(self, level: int, y: Float[Tensor, "sample bead 3"]) -> None:
        self.pairs.set_level(level, self.coordinates(y).fitted)
        if level == 0:
            self.scale.copy_(center(y).square().mean().sqrt())

    def forward(self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch"]:
        return self.base(y, sigma) + self.residual(y, sigma)

    def residual(
        self, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        return self.residual_of(self.trained, y, sigma)

    def residual_of(
        self, transformer: BeadNetwork, y: Float[Tensor, "batch bead 3"], sigma: Float[Tensor, " batch_or_1"]
    ) -> Float[Tensor, " batch"]:
        """The transformer's part of U, computed by this transformer, trainable or frozen."""
        c = self.contraction(sigma)
        energies = transformer(center(y) * c.reshape(-1, 1, 1), self.level(sigma), self.beads.to(y.device))
        return -energies.sum((1, 2)) / (sigma * c)

    def contraction(self, sigma: Float[Tensor, " batch_or_1"]) -> Float[Tensor, " batch_or_1"]:
        """The factor c between positions in nm and the transformer's own unit of length, 1/nm."""
        return (self.scale.square() + sigma.square()).rsqrt()


class TransformerEnergy(BeadTransformerEnergy):
    """The energy of one molecule, with a transformer of its own in which every bead has a slot.

    Args:
        topology: Beads with bonds.
        sizes: Shapes.
    """

    def __init__(self, topology: Topology, sizes: TransformerEnergySizes) -> None:
        super().__init__(topology, sizes)
        self.transformer = new_transformer(sizes.of_network(topology.n_atoms))
        self._beads = Beads(torch.arange(topology.n_atoms))

    @property
    def trained(self) -> GraphTransformer:
        return self.transformer

    @property
    def beads(self) -> Beads:
        return self._beads


def new_transformer(sizes: GraphTransformerSizes) -> GraphTransformer:
    """An untrained transformer whose energy is 0."""
    transformer = GraphTransformer(sizes)
    nn.init.zeros_(transformer.decoder.weight)
    nn.init.zeros_(transformer.decoder.bias)  # a constant of the energy, which would only cost digits
    return transformer

"""The two-for-one graph transformer: energies of beads from attention between all pairs of them.

Beads are the nodes of the graph, and all pairs are its edges. One block consists of an attention layer (see
`attention`) and a feed-forward layer. Each acts on normalized nodes, and a gate mixes its result with the nodes before
it: with z = sigmoid(w . [new, old, new - old]), nodes become z new + (1 - z) old.

With `outputs` = 1 the network gives one energy per bead, and its output is -dE/dx of the sum of the energies. With
`outputs` = 3 the output is a vector per bead, which is not conservative. Either is translation invariant, because x is
centered.

This is the trainable network: autograd differentiates it with respect to positions and parameters any number of times.
For paths, where weights are constant, `FrozenGraphTransformer` (in `frozen`) computes the same function several times
faster. Neither has a tensor with both pairs and channels, see `attention`.

Source: Arts et al., arXiv:2302.00600 (two-for-one); Dwivedi and Bresson, arXiv:2012.09699 (graph transformer).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.molecule.geometry import center
from tpsctl.networks.graph_transformer.layers import Block, Places


@dataclass(frozen=True)
class GraphTransformerSizes:
    """Shapes of the network.

    Attributes:
        slots: Length of the one-hot code of a bead's slot, which is its number in the molecule.
        types: Number of bead types with an embedding; 0 if the slot alone identifies a bead.
        hidden: Width of the nodes.
        layers: Number of blocks.
        heads: Attention heads.
        head_dim: Width of a head.
        positions: Whether nodes see their own position.
        displacements: Whether pairs see x_j - x_i.
        distances: Whether pairs see |x_i - x_j|^2.
        outputs: 1 for an energy per bead, 3 for a vector per bead.
    """

    slots: int
    types: int
    hidden: int
    layers: int
    heads: int
    head_dim: int
    positions: bool
    displacements: bool
    distances: bool
    outputs: int

    def to_dict(self) -> dict[str, int]:
        """The sizes as plain numbers, for a checkpoint's metadata."""
        return {key: int(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, int]) -> "GraphTransformerSizes":
        """Inverse of `to_dict`; raises TypeError or KeyError for other keys."""
        numbers = {key: int(value) for key, value in fields.items()}
        flags = {key: bool(numbers.pop(key)) for key in ("positions", "displacements", "distances")}
        return cls(**numbers, **flags)  # type: ignore[arg-type]

    @property
    def pair_features(self) -> int:
        """Numbers per pair that are embedded; a pair without geometry has one number, which is always 0."""
        return max(1, 3 * self.displacements + self.distances)


@dataclass(frozen=True)
class Beads:
    """The beads of all configurations of a batch, or those of each of them.

    Attributes:
        slots: Slot of every bead in the one-hot code.
        types: Type of every bead; None if the network does not embed types.
        real: False for padding beads, which the published code has, and batches of several molecules; None if there are
            none. Padding beads attend to no bead, and no bead attends to them. As in the published code, their
            attention is a plain mean over all beads.
    """

    slots: Int[Tensor, "*batch bead"]
    types: Int[Tensor, "*batch bead"] | None = None
    real: Bool[Tensor, "*batch bead"] | None = None

    def to(self, device: torch.device | str) -> "Beads":
        """The same beads with their tensors on a device."""
        moved = (None if part is None else part.to(device) for part in (self.slots, self.types, self.real))
        return Beads(*moved)  # type: ignore[arg-type]

    @property
    def blocked(self) -> Bool[Tensor, "*batch bead bead"] | None:
        """True for pairs of beads that do not attend to each other; None if there is no padding."""
        return None if self.real is None else ~(self.real.unsqueeze(-2) & self.real.unsqueeze(-1))


class BeadNetwork(nn.Module, ABC):
    """A graph transformer as a function, trainable or frozen.

    Attributes:
        sizes: Shapes.
    """

    sizes: GraphTransformerSizes

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch_or_1"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        """Decoded nodes: energies or vectors of the beads.

        Args:
            x: Centered positions, in the network's unit of length.
            t: Network time, one for all configurations or one for each.
            beads: The beads of x; a frozen network takes the same for all configurations only.
        """


class GraphTransformer(BeadNetwork):
    """Energies (or vectors) of beads from positions and network time, with parameters that can be trained.

    Args:
        sizes: Shapes.
    """

    def __init__(self, sizes: GraphTransformerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        if sizes.types:
            self.type_embedding = nn.Embedding(sizes.types, sizes.hidden)
        known = sizes.slots + (sizes.hidden if sizes.types else 0)
        self.node_embedding = nn.Linear(known + 3 * sizes.positions + 1, sizes.hidden)
        self.edge_embedding = nn.Linear(sizes.pair_features, sizes.hidden)
        self.blocks = nn.ModuleList(Block(sizes.hidden, sizes.heads, sizes.head_dim) for _ in range(sizes.layers))
        self.decoder = nn.Linear(sizes.hidden, sizes.outputs)

    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch_or_1"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        nodes, places = self.embedded(x, t.expand(len(x)), beads), Places.of(x, beads.blocked)
        pair, pair_bias = self.pair_map(), self.edge_embedding.bias
        for block in self.all_blocks():
            nodes = block(nodes, places, pair, pair_bias)
        return self.decoder(nodes)

    def embedded(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " row"], beads: Beads
    ) -> Float[Tensor, "row bead hidden"]:
        """Nodes before the first block: one row per configuration, or per time if nodes see no positions."""
        features = [self._known(beads, x).expand(len(t), -1, -1)]
        if self.sizes.positions:
            features.append(x)
        features.append(t.to(x).view(-1, 1, 1).expand(len(t), x.shape[1], 1))
        return self.node_embedding(torch.cat(features, dim=-1))

    def pair_map(self) -> Float[Tensor, "hidden 4"]:
        """Matrix that embeds (x_j - x_i, |x_i - x_j|^2); columns that pairs do not see are 0."""
        weight, columns = self.edge_embedding.weight, 3 * self.sizes.displacements
        displacements = functional.pad(weight[:, :columns], (0, 3 - columns))
        distances = weight[:, columns:] if self.sizes.distances else torch.zeros_like(displacements[:, :1])
        return torch.cat([displacements, distances], dim=1)

    def all_blocks(self) -> Iterator[Block]:
        """The blocks of the network, in order."""
        return (block for block in self.blocks if isinstance(block, Block))

    def _known(self, beads: Beads, x: Tensor) -> Float[Tensor, "*batch bead known"]:
        """Features of the beads that do not depend on the configuration: one-hot slots, and embedded types."""
        place = torch.eye(self.sizes.slots, dtype=x.dtype, device=x.device)[beads.slots]
        return place if beads.types is None else torch.cat([place, self.type_embedding(beads.types)], dim=-1)


def descent(
    network: BeadNetwork,
    x: Float[Tensor, "batch bead 3"],
    t: Float[Tensor, " batch_or_1"],
    beads: Beads,
    *,
    compat: bool = False,
) -> Float[Tensor, "batch bead 3"]:
    """The output of a network with energies or vectors: -dE/dx of the sum of the energies, or the vectors.

    It has an autograd graph if x or a parameter requires a gradient, so a loss of it can be differentiated.

    Args:
        network: Network with 1 or 3 outputs, trainable or frozen.
        x: Positions in the network's unit of length, not necessarily centered.
        t: Network time, one for all configurations or one for each.
        beads: The beads of x.
        compat: Whether to differentiate with respect to the centered x, as the published code does, instead of
            x itself. The two differ by the mean over beads, which is not zero for networks that see positions.
    """
    xc = center(x)
    if network.sizes.outputs == 3:
        return network(xc, t, beads)
    trained = any(parameter.requires_grad for parameter in network.parameters())
    create_graph = torch.is_grad_enabled() and (x.requires_grad or trained)
    with torch.enable_grad():
        xc = xc if xc.requires_grad else xc.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(xc, t, beads).sum(), xc, create_graph=create_graph)
    return -gradient if compat else center(-gradient)

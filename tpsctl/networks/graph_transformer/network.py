"""The two-for-one graph transformer: energies of beads from attention between all pairs of them.

Nodes are beads, edges all pairs. One block is attention (see `attention`) and a feed-forward layer, each on normalized
nodes and each joined to what it started from by a gate: with z = sigmoid(w . [new, old, new - old]), nodes become
z new + (1 - z) old.

The network gives one energy per bead; its "noise" output is -dE/dx of their sum (`outputs` = 1), or three numbers per
bead read off directly (`outputs` = 3, not conservative). It is translation invariant because it centers x.

It is made for frozen weights: for scores, and for the derivatives of scores that actions need (`second_order`).

Source: Arts et al., arXiv:2302.00600 (two-for-one); Dwivedi and Bresson, arXiv:2012.09699 (graph transformer).
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.molecule.geometry import center
from tpsctl.networks.graph_transformer.attention import Attention, AttentionMaps, Places, absorbed
from tpsctl.networks.graph_transformer.second_order import gated, gelu, standardized


@dataclass(frozen=True)
class GraphTransformerSizes:
    """Shapes of the network.

    Attributes:
        slots: Length of the one-hot code of a bead's place in the molecule.
        types: Number of bead types with an embedding; 0 if beads are known by their place only.
        hidden: Width of the nodes.
        layers: Number of blocks.
        heads: Attention heads.
        head_dim: Width of a head.
        positions: Whether nodes see their own position.
        displacements: Whether pairs see x_j - x_i.
        distances: Whether pairs see |x_i - x_j|^2.
        outputs: 1 for an energy per bead, 3 for a vector.
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
        """Plain numbers, for a checkpoint's metadata."""
        return {key: int(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, int]) -> "GraphTransformerSizes":
        """Inverse of `to_dict`; raises TypeError or KeyError for other keys."""
        numbers = {key: int(value) for key, value in fields.items()}
        flags = {key: bool(numbers.pop(key)) for key in ("positions", "displacements", "distances")}
        return cls(**numbers, **flags)  # type: ignore[arg-type]

    @property
    def pair_features(self) -> int:
        """Numbers per pair; a pair without geometry still has one, which is always zero."""
        return max(1, 3 * self.displacements + self.distances)


@dataclass(frozen=True)
class Beads:
    """Which of the network's beads a configuration has.

    Attributes:
        slots: Place of every bead in the one-hot code.
        types: Type of every bead, where the network embeds types.
        real: False for padding, which the published code carries along; None if there is none. Padding neither
            attends to real beads nor is attended to: its rows, as in the published code, average over all.
    """

    slots: Int[Tensor, " bead"]
    types: Int[Tensor, " bead"] | None = None
    real: Bool[Tensor, " bead"] | None = None

    def to(self, device: torch.device | str) -> "Beads":
        """The same on a device."""
        moved = (None if part is None else part.to(device) for part in (self.slots, self.types, self.real))
        return Beads(*moved)  # type: ignore[arg-type]


class Gate(nn.Module):
    """z new + (1 - z) old with z = sigmoid(w . [new, old, new - old])."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * hidden, 1, bias=False)

    def forward(self, new: Float[Tensor, "row hidden"], old: Float[Tensor, "row hidden"]) -> Tensor:
        by_new, by_old, by_change = self.proj.weight[0].chunk(3)
        return gated(new, old, by_new + by_change, by_old - by_change)


@dataclass(frozen=True)
class BlockMaps:
    """Weights of a block, multiplied out.

    Attributes:
        attention: Those of the attention.
        widen: From standardized nodes to the hidden layer of the feed-forward part.
        widen_bias: What is added to that.
    """

    attention: AttentionMaps
    widen: Float[Tensor, "hidden wide"]
    widen_bias: Float[Tensor, " wide"]


class Block(nn.Module):
    """Attention and feed-forward, each with a norm before and a gate after."""

    def __init__(self, sizes: GraphTransformerSizes) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(sizes.hidden)
        self.attention = Attention(sizes.hidden, sizes.heads, sizes.head_dim)
        self.attention_gate = Gate(sizes.hidden)
        self.feed_forward_norm = nn.LayerNorm(sizes.hidden)
        self.widen = nn.Linear(sizes.hidden, 4 * sizes.hidden)
        self.narrow = nn.Linear(4 * sizes.hidden, sizes.hidden)
        self.feed_forward_gate = Gate(sizes.hidden)

    def maps(self, pair: Float[Tensor, "hidden 4"], pair_bias: Float[Tensor, " hidden"]) -> BlockMaps:
        """Multiply out (see `attention`)."""
        attention = self.attention.maps(self.attention_norm, pair, pair_bias)
        widen, bias = absorbed(self.feed_forward_norm, self.widen)
        like = self.widen.weight
        return BlockMaps(attention, widen.to(like).T.contiguous(), bias.to(like))

    def forward(self, nodes: Float[Tensor, "row hidden"], places: Places, maps: BlockMaps) -> Tensor:
        """Nodes of the beads of all configurations; `nodes` may be those of one that stands for all."""
        new = maps.attention(nodes, places)
        nodes = self.attention_gate(new, nodes.repeat(len(new) // len(nodes), 1))
        wide = gelu(torch.addmm(maps.widen_bias, standardized(nodes), maps.widen))
        return self.feed_forward_gate(self.narrow(wide), nodes)


class GraphTransformer(nn.Module):
    """Energies (or vectors) of beads from positions and network time. Weights are frozen.

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
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.decoder = nn.Linear(sizes.hidden, sizes.outputs)
        self.requires_grad_(False)
        self._maps: tuple[object, list[BlockMaps]] = (None, [])

    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch_or_1"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        """Decoded nodes of centered positions x (in the network's own length) at network time t.

        One time for all configurations is cheaper than one for each: nodes that see no positions are then alike in
        all of them until the first attention.
        """
        alone = len(t) == 1 and not self.sizes.positions
        features = [self._known(beads, x).expand(1 if alone else len(x), -1, -1)]
        if self.sizes.positions:
            features.append(x)
        features.append(t.to(x).view(-1, 1, 1).expand(len(features[0]), x.shape[1], 1))
        nodes = self.node_embedding(torch.cat(features, dim=-1)).flatten(0, 1)
        blocked = None if beads.real is None else ~(beads.real.unsqueeze(0) & beads.real.unsqueeze(1))
        places = Places.of(x, blocked)
        for block, maps in zip(self._all_blocks(), self.maps(), strict=True):
            nodes = block(nodes, places, maps)
        return self.decoder(nodes).unflatten(0, x.shape[:2])

    def maps(self) -> list[BlockMaps]:
        """Weights of all blocks, multiplied out; kept until parameters change."""
        version = [(p.data_ptr(), p._version, p.dtype) for p in self.parameters()]
        if self._maps[0] != version:
            edge, columns = self.edge_embedding, 3 * self.sizes.displacements
            with torch.no_grad():
                pair = edge.weight.new_zeros(self.sizes.hidden, 4)
                pair[:, :columns] = edge.weight[:, :columns]
                if self.sizes.distances:
                    pair[:, 3] = edge.weight[:, columns]
                self._maps = (version, [block.maps(pair, edge.bias) for block in self._all_blocks()])
        return self._maps[1]

    def _all_blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _known(self, beads: Beads, x: Tensor) -> Float[Tensor, "bead known"]:
        """What tells beads apart whatever the configuration."""
        place = functional.one_hot(beads.slots, self.sizes.slots).to(x)
        return place if beads.types is None else torch.cat([place, self.type_embedding(beads.types)], dim=-1)


def descent(
    network: GraphTransformer,
    x: Float[Tensor, "batch bead 3"],
    t: Float[Tensor, " batch_or_1"],
    beads: Beads,
    *,
    compat: bool = False,
) -> Float[Tensor, "batch bead 3"]:
    """What the network calls its output: -dE/dx of the summed energies, or the decoded vectors.

    Args:
        network: Network with 1 or 3 outputs.
        x: Positions in the network's length, not necessarily centered.
        t: Network time, one for all or one for each.
        beads: The beads of x.
        compat: Whether to differentiate with respect to the centered x, as the published code does, instead of
            x itself. The two differ by the mean over beads, which is not zero for networks that see positions.
    """
    xc = center(x)
    if network.sizes.outputs == 3:
        return network(xc, t, beads)
    create_graph = torch.is_grad_enabled() and x.requires_grad
    with torch.enable_grad():
        xc = xc if create_graph else xc.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(xc, t, beads).sum(), xc, create_graph=create_graph)
    return -gradient if compat else center(-gradient)

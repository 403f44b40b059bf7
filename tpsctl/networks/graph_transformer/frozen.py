"""The graph transformer with weights that do not change: for scores, and for the derivatives actions need of them.

What meets nothing but weights is multiplied out beforehand (`AttentionMaps`, `BlockMaps`), and layers have first and
second derivatives by positions written by hand (`second_order`). There are no derivatives by weights.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.graph_transformer.attention import AttentionMaps, absorbed, attention_maps
from tpsctl.networks.graph_transformer.layers import Block, Gate, Places
from tpsctl.networks.graph_transformer.network import BeadNetwork, Beads, GraphTransformer
from tpsctl.networks.graph_transformer.second_order import gated, gelu, standardized


@dataclass(frozen=True)
class BlockMaps:
    """Weights of a block, multiplied out.

    Attributes:
        block: The block, for the layers that are used as they are.
        attention: Those of the attention.
        widen: From standardized nodes to the hidden layer of the feed-forward part.
        widen_bias: What is added to that.
    """

    block: Block
    attention: AttentionMaps
    widen: Float[Tensor, "hidden wide"]
    widen_bias: Float[Tensor, " wide"]

    @classmethod
    def of(cls, block: Block, pair: Float[Tensor, "hidden 4"], pair_bias: Float[Tensor, " hidden"]) -> "BlockMaps":
        """Multiply out (see `attention`)."""
        attention = attention_maps(block.attention, block.attention_norm, pair, pair_bias)
        widen, bias = absorbed(block.feed_forward_norm, block.widen)
        like = block.widen.weight
        return cls(block, attention, widen.to(like).T.contiguous(), bias.to(like))

    def __call__(self, nodes: Float[Tensor, "row hidden"], places: Places) -> Tensor:
        """Nodes of the beads of all configurations; `nodes` may be those of one that stands for all."""
        new = self.attention(nodes, places)
        nodes = _gate(self.block.attention_gate, new, nodes.repeat(len(new) // len(nodes), 1))
        wide = gelu(torch.addmm(self.widen_bias, standardized(nodes), self.widen))
        return _gate(self.block.feed_forward_gate, self.block.narrow(wide), nodes)


class FrozenGraphTransformer(BeadNetwork):
    """The function of a graph transformer, with a copy of its weights as they are.

    Args:
        network: The network.
    """

    def __init__(self, network: GraphTransformer) -> None:
        super().__init__()
        self.sizes = network.sizes
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._maps: tuple[object, list[BlockMaps]] = (None, [])

    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch_or_1"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        """See `BeadNetwork`.

        One time for all configurations is cheaper than one for each: nodes that see no positions are then alike in
        all of them until the first attention.
        """
        alone = len(t) == 1 and not self.sizes.positions
        nodes = self.network.embedded(x, t if alone else t.expand(len(x)), beads).flatten(0, 1)
        places = Places.of(x, beads.blocked)
        for maps in self.maps():
            nodes = maps(nodes, places)
        return self.network.decoder(nodes).unflatten(0, x.shape[:2])

    def maps(self) -> list[BlockMaps]:
        """Weights of all blocks, multiplied out; kept until parameters change."""
        version = [(p.data_ptr(), p._version, p.dtype) for p in self.parameters()]
        if self._maps[0] != version:
            with torch.no_grad():
                pair, bias = self.network.pair_map(), self.network.edge_embedding.bias
                self._maps = (version, [BlockMaps.of(block, pair, bias) for block in self.network.all_blocks()])
        return self._maps[1]


def _gate(gate: Gate, new: Float[Tensor, "row hidden"], old: Float[Tensor, "row hidden"]) -> Tensor:
    return gated(new, old, *gate.weights())

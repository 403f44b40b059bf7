"""The graph transformer with constant weights, for scores and for the derivatives of scores that actions need.

Products of weights with each other are computed once (`AttentionMaps`, `BlockMaps`), and the first and second
derivatives of the layers with respect to positions are written by hand (`second_order`). There are no derivatives with
respect to weights.
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
    """Linear maps of a block: its weights, multiplied with each other as far as possible.

    Attributes:
        block: The block; its gates and its last linear layer are used unchanged.
        attention: Maps of the attention layer.
        widen: Map of standardized nodes to the hidden layer of the feed-forward part.
        widen_bias: Bias of this map.
    """

    block: Block
    attention: AttentionMaps
    widen: Float[Tensor, "hidden wide"]
    widen_bias: Float[Tensor, " wide"]

    @classmethod
    def of(cls, block: Block, pair: Float[Tensor, "hidden 4"], pair_bias: Float[Tensor, " hidden"]) -> "BlockMaps":
        """Multiply the weights of a block; `pair` and `pair_bias` as in `attention_maps`."""
        attention = attention_maps(block.attention, block.attention_norm, pair, pair_bias)
        widen, bias = absorbed(block.feed_forward_norm, block.widen)
        like = block.widen.weight
        return cls(block, attention, widen.to(like).T.contiguous(), bias.to(like))

    def __call__(self, nodes: Float[Tensor, "row hidden"], places: Places) -> Tensor:
        """New nodes of all configurations; if `nodes` has the rows of one only, all configurations have these."""
        new = self.attention(nodes, places)
        nodes = _gate(self.block.attention_gate, new, nodes.repeat(len(new) // len(nodes), 1))
        wide = gelu(torch.addmm(self.widen_bias, standardized(nodes), self.widen))
        return _gate(self.block.feed_forward_gate, self.block.narrow(wide), nodes)


class FrozenGraphTransformer(BeadNetwork):
    """Computes the same function as a graph transformer, with a copy of its present weights.

    Args:
        network: The network, which is copied.
    """

    def __init__(self, network: GraphTransformer) -> None:
        super().__init__()
        self.sizes = network.sizes
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._maps: tuple[object, list[BlockMaps]] = (None, [])

    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch_or_1"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        """Decoded nodes, as `BeadNetwork.forward` describes.

        One time for all configurations is cheaper than one for each: if nodes see no positions, they are then the same
        in all configurations until the first attention.
        """
        alone = len(t) == 1 and not self.sizes.positions
        nodes = self.network.embedded(x, t if alone else t.expand(len(x)), beads).flatten(0, 1)
        places = Places.of(x, beads.blocked)
        for maps in self.maps():
            nodes = maps(nodes, places)
        return self.network.decoder(nodes).unflatten(0, x.shape[:2])

    def maps(self) -> list[BlockMaps]:
        """Linear maps of all blocks; they are kept until a parameter changes."""
        version = [(p.data_ptr(), p._version, p.dtype) for p in self.parameters()]
        if self._maps[0] != version:
            with torch.no_grad():
                pair, bias = self.network.pair_map(), self.network.edge_embedding.bias
                self._maps = (version, [BlockMaps.of(block, pair, bias) for block in self.network.all_blocks()])
        return self._maps[1]


def _gate(gate: Gate, new: Float[Tensor, "row hidden"], old: Float[Tensor, "row hidden"]) -> Tensor:
    return gated(new, old, *gate.weights())

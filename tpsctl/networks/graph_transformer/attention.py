"""Attention between beads with the geometry of every pair, without a tensor that has both pairs and channels.

In the published formulation the geometry g_ij of a pair has an embedding e_ij that is added to the key and to the value
of bead j in the attention of bead i. This needs a tensor [batch, bead, bead, heads x head_dim]. But e_ij is affine in
g_ij:

    g_ij = (x_j - x_i, |x_i - x_j|^2)  or a part of it          e_ij = W_r (x_j - x_i) + w_s |x_i - x_j|^2 + b

Terms of q_i . e_ij that do not depend on j drop out of the softmax over j, and the sums over j need g_ij only:

    logits   q_i . k_j  +  (W_r^T q_i) . x_j  +  (w_s . q_i) (|x_j|^2 - 2 x_i . x_j)
    out      W_o (sum_j A_ij v_j + b)  +  W_o W_r (m_i - x_i)  +  W_o w_s (|x_i|^2 + n_i - 2 x_i . m_i)

with attention weights A, the output map W_o, m_i = sum_j A_ij x_j and n_i = sum_j A_ij |x_j|^2. So keys and values only
need the four additional numbers p_j = (x_j, |x_j|^2), which this package calls the place of bead j, and the largest
tensor is [batch, heads, bead, bead]. The result is exact.

The weights are frozen, so products of weights with each other are computed once, in double precision (`AttentionMaps`):
scale and shift of the preceding norm, 1/sqrt(head_dim), and W_r and w_s with the linear maps before and after them.

If nodes do not depend on the configuration (in the first block of a network whose nodes see no positions), q, k and v
do not either. Then q_i . k_j is one matrix for the whole batch, and sum_j A_ij (W_o v_j) is one product with a fixed
matrix.

Rounding: if the network's unit of length is small (Angstrom), logits reach hundreds. Products of queries and outputs
with the vectors W_r and w_s would be sums of head_dim numbers that nearly cancel; with the weights multiplied
beforehand only scalars per head are left. Computing squared distances as |x_i|^2 + |x_j|^2 - 2 x_i . x_j is no problem:
x is centered, and squared differences give the same accuracy.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.networks.graph_transformer import attend_compiled
from tpsctl.networks.graph_transformer.attend import attend
from tpsctl.networks.graph_transformer.layers import Attention, Places, mean_geometry
from tpsctl.networks.graph_transformer.second_order import from_heads, softmax, standardized, tilted, to_heads


@dataclass(frozen=True)
class AttentionMaps:
    """Linear maps of one attention layer: its weights, multiplied with each other as far as possible.

    `query`, `key` and `value` map [standardized node, place] to [head_dim, 4] for every head; `out`, `own` and
    `geometry` map to the output. If pairs do not see distances, g_ij is linear in p_i and p_j. Its contribution is then
    in `out` and `own`; otherwise it is in `geometry`, and `out` and `own` have zeros for it.

    Attributes:
        query: Map to q_i / sqrt(head_dim) and to (W_r, w_s)^T q_i / sqrt(head_dim), which is multiplied with p_j.
        query_bias: Bias of this map.
        key: Map to k_j and p_j.
        value: Map to v_j and p_j.
        out: Map of sum_j A_ij (v_j, p_j).
        own: Map of p_i.
        geometry: Map of sum_j A_ij g_ij of each head; None if pairs do not see distances.
        bias: Bias of the output.
    """

    query: Float[Tensor, "head node_place column"]
    query_bias: Float[Tensor, "head 1 column"]
    key: Float[Tensor, "head node_place column"]
    value: Float[Tensor, "head node_place column"]
    out: Float[Tensor, "head column hidden"]
    own: Float[Tensor, "4 hidden"]
    geometry: Float[Tensor, "head_place hidden"] | None
    bias: Float[Tensor, " hidden"]

    def __call__(self, nodes: Float[Tensor, "node hidden"], places: Places) -> Float[Tensor, "row hidden"]:
        """Output of the attention at the beads of all configurations.

        If `nodes` has the rows of one configuration only, all configurations have these nodes.
        """
        batch, beads = places.x.shape[:2]
        if len(nodes) < batch * beads:
            return self._of_shared_nodes(nodes, places)
        if places.blocked is None and attend_compiled.usable(nodes):
            return self._compiled(nodes, places)
        y = torch.cat([standardized(nodes), places.p.flatten(0, 1)], dim=-1)
        q, k, v = (to_heads(y, weight) for weight in (self.query, self.key, self.value))
        x = None if self.geometry is None else places.x.flatten(0, 1)
        seen = attend(q, self.query_bias, k, v, x, places.blocked, beads=beads)
        out = self._own(places) + from_heads(seen, self.out)
        if self.geometry is None:
            return out
        mean = mean_geometry(seen[..., -4:], places.p.flatten(0, 1))  # (head, row, 4)
        return out + mean.transpose(0, 1).flatten(1) @ self.geometry

    def _compiled(self, nodes: Float[Tensor, "row hidden"], places: Places) -> Float[Tensor, "row hidden"]:
        """The output by `attend_compiled`, with queries, keys and values of all heads from one matrix product."""
        p, heads = places.p.flatten(0, 1), len(self.out)
        tilted = self.geometry is not None
        z, bias = standardized(nodes) @ self._joint, self.query_bias.flatten()
        seen, mean = attend_compiled.attend(z, bias, p, beads=places.x.shape[1], heads=heads, tilted=tilted)
        out = self._own(places) + seen @ self._out_of_values
        if self.geometry is None:
            return out + mean @ self._out_of_places
        return out + mean_geometry(mean.unflatten(1, (heads, 4)), p.unsqueeze(1)).flatten(1) @ self.geometry

    @cached_property
    def _joint(self) -> Float[Tensor, "hidden channel"]:
        """Map of standardized nodes to queries, keys and values of all heads, without the places."""
        parts = (self.query[:, :-4], self.key[:, :-4, :-4], self.value[:, :-4, :-4])
        return torch.cat(parts, dim=2).transpose(0, 1).flatten(1)

    @cached_property
    def _out_of_values(self) -> Float[Tensor, "head_dim hidden"]:
        return self.out[:, :-4].flatten(0, 1)

    @cached_property
    def _out_of_places(self) -> Float[Tensor, "head_place hidden"]:
        return self.out[:, -4:].flatten(0, 1)

    def _of_shared_nodes(self, nodes: Float[Tensor, "bead hidden"], places: Places) -> Float[Tensor, "row hidden"]:
        """The output if every configuration has the same nodes; tensors of pairs are [batch, bead i, head, bead j]."""
        (batch, beads), heads = places.x.shape[:2], len(self.out)
        y = functional.pad(standardized(nodes), (0, 4))
        q = to_heads(y, self.query) + self.query_bias
        k, v = to_heads(y, self.key), to_heads(y, self.value)
        logits = torch.bmm(q[..., :-4], k[..., :-4].mT).transpose(0, 1)  # (bead, head, bead)
        if places.blocked is not None:
            logits = logits.masked_fill(places.blocked.unsqueeze(1), -torch.finfo(logits.dtype).max)
        toward = q[..., -4:].transpose(0, 1).expand(batch, beads, heads, 4)
        if self.geometry is not None:
            toward = tilted(toward, places.x.unsqueeze(2))
        by_place = torch.bmm(toward.flatten(1, 2), places.p.mT)
        if places.blocked is not None:  # a bead with blocked pairs only still has weights, but its derivatives are 0
            by_pair = by_place.unflatten(1, (beads, heads))
            by_place = by_pair.masked_fill(places.blocked.unsqueeze(1), 0.0).flatten(1, 2)
        weights = softmax(logits.flatten(0, 1) + by_place)
        seen = torch.bmm(weights, places.p).view(batch * beads, heads, 4)
        out = self._own(places) + seen.flatten(1) @ self._out_of_places
        out = out + weights.view(batch * beads, -1) @ torch.bmm(v[..., :-4], self.out[:, :-4]).flatten(0, 1)
        if self.geometry is None:
            return out
        return out + mean_geometry(seen, places.p.view(batch * beads, 1, 4)).flatten(1) @ self.geometry

    def _own(self, places: Places) -> Float[Tensor, "row hidden"]:
        return torch.addmm(self.bias, places.p.flatten(0, 1), self.own)


def attention_maps(
    attention: Attention,
    norm: nn.LayerNorm,
    pair: Float[Tensor, "hidden 4"],
    pair_bias: Float[Tensor, " hidden"],
) -> AttentionMaps:
    """Multiply the weights of an attention layer with each other.

    Args:
        attention: The layer.
        norm: The norm before the layer.
        pair: Matrix that embeds (x_j - x_i, |x_i - x_j|^2); columns that pairs do not see are 0.
        pair_bias: Bias of the embedding.
    """
    like, to_kv = attention.to_q.weight, attention.edges_to_kv.weight.double()
    per_head = (attention.heads, attention.head_dim)
    pairs = (to_kv @ pair.double()).unflatten(0, per_head)  # (head, head_dim, 4)
    (q, q_bias), (kv, kv_bias) = (absorbed(norm, linear) for linear in (attention.to_q, attention.to_kv))
    q, q_bias = (part.unflatten(0, per_head) * attention.head_dim**-0.5 for part in (q, q_bias))
    k, v = (part.unflatten(0, per_head) for part in kv.chunk(2))
    out = attention.to_out.weight.double()
    out_per_head = out.unflatten(1, per_head)
    pairs_out = torch.einsum("nhd,hdp->hpn", out_per_head, pairs)
    always = kv_bias.chunk(2)[1] + to_kv @ pair_bias.double() + attention.edges_to_kv.bias
    linear = not bool(pair[:, -1].any())
    sign = pairs_out.new_tensor([[-1.0], [-1.0], [-1.0], [1.0]])
    maps = {
        "query": functional.pad(torch.cat([q, pairs.mT @ q], dim=1), (0, 4)).mT,
        "query_bias": torch.cat([q_bias, torch.einsum("hdp,hd->hp", pairs, q_bias)], dim=1).unsqueeze(1),
        "key": _beside_place(k),
        "value": _beside_place(v),
        "out": torch.cat([out_per_head.permute(1, 2, 0), linear * pairs_out], dim=1),
        "own": linear * pairs_out.sum(0) * sign,
        "bias": out @ always + attention.to_out.bias,
    }
    geometry = None if linear else pairs_out.flatten(0, 1).to(like)
    return AttentionMaps(**{name: part.to(like).contiguous() for name, part in maps.items()}, geometry=geometry)


def absorbed(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer that follows `standardized` instead of `norm`, in double precision.

    They contain the scale and the shift of the norm.
    """
    weight = linear.weight.double()
    return weight * norm.weight, weight @ norm.bias.double() + linear.bias


def _beside_place(weight: Float[Tensor, "head head_dim hidden"]) -> Float[Tensor, "head node_place column"]:
    """Extend a map of nodes to [node, place] by the identity for the place."""
    return torch.stack([torch.block_diag(one, torch.eye(4, dtype=one.dtype, device=one.device)) for one in weight]).mT

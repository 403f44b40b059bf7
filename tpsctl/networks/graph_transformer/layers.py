"""Trainable layers of the graph transformer; checkpoints store the parameters under the names that they have here.

The layers consist of torch's own operations, so autograd differentiates them with respect to positions and parameters
any number of times. The attention uses the exact formulas of `attention`, so its largest tensor is
[batch, heads, bead, bead].
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Places:
    """Positions of the beads of a batch, in the network's unit of length.

    Attributes:
        x: Centered positions.
        p: The places (x, |x|^2).
        blocked: True for pairs of beads that do not attend to each other; None if there are none.
    """

    x: Float[Tensor, "batch bead 3"]
    p: Float[Tensor, "batch bead 4"]
    blocked: Bool[Tensor, "*batch bead bead"] | None

    @classmethod
    def of(cls, x: Float[Tensor, "batch bead 3"], blocked: Bool[Tensor, "*batch bead bead"] | None) -> "Places":
        """Make the places of beads at centered positions x."""
        return cls(x, torch.cat([x, x.square().sum(-1, keepdim=True)], dim=-1), blocked)


class Attention(nn.Module):
    """Attention between beads that sees the geometry of every pair."""

    def __init__(self, hidden: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads, self.head_dim = heads, head_dim
        self.to_q = nn.Linear(hidden, inner)
        self.to_kv = nn.Linear(hidden, 2 * inner)
        self.edges_to_kv = nn.Linear(hidden, inner)
        self.to_out = nn.Linear(inner, hidden)

    def forward(
        self,
        nodes: Float[Tensor, "batch bead hidden"],
        places: Places,
        pair: Float[Tensor, "hidden 4"],
        pair_bias: Float[Tensor, " hidden"],
    ) -> Float[Tensor, "batch bead hidden"]:
        """Output of the attention at every bead.

        Args:
            nodes: Normalized nodes.
            places: Positions of the beads.
            pair: Matrix that embeds (x_j - x_i, |x_i - x_j|^2); columns that pairs do not see are 0.
            pair_bias: Bias of the embedding.
        """
        per_head = (self.heads, self.head_dim)
        q, k, v = (y.unflatten(-1, per_head) for y in (self.to_q(nodes), *self.to_kv(nodes).chunk(2, dim=-1)))
        q, pairs = q * self.head_dim**-0.5, (self.edges_to_kv.weight @ pair).unflatten(0, per_head)
        slope, s = torch.einsum("bihd,hdp->bihp", q, pairs).split([3, 1], dim=-1)
        toward = torch.cat([slope - 2 * s * places.x.unsqueeze(2), s], dim=-1)
        logits = torch.einsum("bihd,bjhd->bhij", q, k) + torch.einsum("bihp,bjp->bhij", toward, places.p)
        if places.blocked is not None:
            blocked = places.blocked.unsqueeze(-3)  # the same for all heads
            logits = logits.masked_fill(blocked, -torch.finfo(logits.dtype).max)
        weights = torch.softmax(logits, dim=-1)
        mean = mean_geometry(torch.einsum("bhij,bjp->bihp", weights, places.p), places.p.unsqueeze(2))
        always = self.edges_to_kv(pair_bias).unflatten(0, per_head)
        seen = torch.einsum("bhij,bjhd->bihd", weights, v) + torch.einsum("bihp,hdp->bihd", mean, pairs) + always
        return self.to_out(seen.flatten(2))


class Gate(nn.Module):
    """A gate that mixes two nodes: z new + (1 - z) old with z = sigmoid(w . [new, old, new - old])."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * hidden, 1, bias=False)

    def weights(self) -> tuple[Float[Tensor, " hidden"], Float[Tensor, " hidden"]]:
        """The two vectors a, b with w . [new, old, new - old] = a . new + b . old."""
        by_new, by_old, by_change = self.proj.weight[0].chunk(3)
        return by_new + by_change, by_old - by_change

    def forward(self, new: Float[Tensor, "*row hidden"], old: Float[Tensor, "*row hidden"]) -> Tensor:
        """Mix `new` and `old`; 1 - z is computed as sigmoid(-a), which is accurate also if z = sigmoid(a) is near 1."""
        by_new, by_old = self.weights()
        a = (new @ by_new + old @ by_old).unsqueeze(-1)
        return torch.sigmoid(a) * new + torch.sigmoid(-a) * old


class Block(nn.Module):
    """An attention layer and a feed-forward layer, each with a norm before it and a gate after it."""

    def __init__(self, hidden: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention = Attention(hidden, heads, head_dim)
        self.attention_gate = Gate(hidden)
        self.feed_forward_norm = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, 4 * hidden)
        self.narrow = nn.Linear(4 * hidden, hidden)
        self.feed_forward_gate = Gate(hidden)

    def forward(
        self,
        nodes: Float[Tensor, "batch bead hidden"],
        places: Places,
        pair: Float[Tensor, "hidden 4"],
        pair_bias: Float[Tensor, " hidden"],
    ) -> Float[Tensor, "batch bead hidden"]:
        """New nodes of all configurations; `pair` and `pair_bias` as in `Attention.forward`."""
        new = self.attention(self.attention_norm(nodes), places, pair, pair_bias)
        nodes = self.attention_gate(new, nodes)
        return self.feed_forward_gate(self.narrow(functional.gelu(self.widen(self.feed_forward_norm(nodes)))), nodes)


def mean_geometry(mean: Float[Tensor, "*rows 4"], p: Float[Tensor, "*own 4"]) -> Tensor:
    """Mean geometry sum_j A_ij g_ij = (m_i - x_i, |x_i|^2 + n_i - 2 x_i . m_i), with mean = (m_i, n_i) and p = p_i."""
    x, m = p[..., :3], mean[..., :3]
    return torch.cat([m - x, p[..., 3:] + mean[..., 3:] - 2 * (x * m).sum(-1, keepdim=True)], dim=-1)

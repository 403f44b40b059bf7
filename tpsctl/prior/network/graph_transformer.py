"""The two-for-one graph transformer, without a tensor per pair and channel.

Nodes are beads, edges all pairs. One block is attention and a feed-forward layer, each on normalized nodes and
each joined to what it started from by a gate: with z = sigmoid(w . [new, old, new - old]), nodes become
z new + (1 - z) old. In the published formulation a pair adds an embedding e_ij of its geometry g_ij to key and
value of bead j as bead i sees them, a tensor [batch, bead, bead, heads x head_dim]. But e_ij is affine in g_ij:

    g_ij = (x_j - x_i, |x_i - x_j|^2)  or a part of it          e_ij = W_r (x_j - x_i) + w_s |x_i - x_j|^2 + b

Terms of q_i . e_ij that do not depend on j drop out of the softmax over j, and sums over j act on g_ij alone:

    logits   q_i . [k_j + W_r x_j + w_s |x_j|^2]  -  2 (q_i . w_s) x_i . x_j
    values   sum_j A_ij [v_j + W_r x_j + w_s |x_j|^2]  +  b - W_r x_i + w_s (|x_i|^2 - 2 x_i . m_i)

with m_i = sum_j A_ij x_j.

So keys and values grow by three numbers per head, and [batch, heads, bead, bead] is the largest tensor. Exact.

The network gives one energy per bead; its "noise" output is -dE/dx of their sum (`outputs` = 1), or three numbers per
bead read off directly (`outputs` = 3, not conservative). It is translation invariant because it centers x.

Source: Arts et al., arXiv:2302.00600 (two-for-one); Dwivedi and Bresson, arXiv:2012.09699 (graph transformer).
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.geometry import center


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


class Attention(nn.Module):
    """Attention with pair geometry in keys and values (see the module)."""

    def __init__(self, sizes: GraphTransformerSizes) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_dim
        self.sizes = sizes
        self.to_q = nn.Linear(sizes.hidden, inner)
        self.to_kv = nn.Linear(sizes.hidden, 2 * inner)
        self.edges_to_kv = nn.Linear(sizes.hidden, inner)
        self.to_out = nn.Linear(inner, sizes.hidden)

    def forward(
        self,
        nodes: Float[Tensor, "batch bead hidden"],
        x: Float[Tensor, "batch bead 3"],
        edge: nn.Linear,
        blocked: Bool[Tensor, "bead bead"] | None,
    ) -> Float[Tensor, "batch bead hidden"]:
        q = self._heads(self.to_q(nodes))
        k, v = (self._heads(part) for part in self.to_kv(nodes).chunk(2, dim=-1))
        per_pair = self.edges_to_kv.weight @ edge.weight  # (inner, pair feature)
        bias = self.edges_to_kv.weight @ edge.bias + self.edges_to_kv.bias
        square = x.square().sum(-1, keepdim=True)
        own, after = torch.zeros_like(v), self._heads(bias.expand(1, 1, -1))
        if self.sizes.displacements:
            moved = self._heads(x @ per_pair[:, :3].T)
            own, after = own + moved, after - moved
        if self.sizes.distances:
            slope = per_pair[:, -1].reshape(self.sizes.heads, 1, self.sizes.head_dim)
            scaled = slope * square.unsqueeze(1)
            own, after = own + scaled, after + scaled
            spread = x.unsqueeze(1).expand(-1, self.sizes.heads, -1, -1)
            q = torch.cat([q, -2 * (q * slope).sum(-1, keepdim=True) * spread], dim=-1)
            k, v = torch.cat([k + own, spread], dim=-1), torch.cat([v + own, spread], dim=-1)
        else:
            k, v = k + own, v + own
        logits = q @ k.transpose(-1, -2) * self.sizes.head_dim**-0.5
        if blocked is not None:
            logits = logits.masked_fill(blocked, -torch.finfo(logits.dtype).max)
        weights = torch.softmax(logits, dim=-1)
        out = weights @ v
        if self.sizes.distances:
            out, mean = out[..., :-3], out[..., -3:]
            after = after - 2 * slope * (x.unsqueeze(1) * mean).sum(-1, keepdim=True)
        return self.to_out((out + after).transpose(1, 2).flatten(2))

    def _heads(self, y: Float[Tensor, "batch bead inner"]) -> Float[Tensor, "batch head bead head_dim"]:
        return y.unflatten(-1, (self.sizes.heads, self.sizes.head_dim)).transpose(1, 2)


class Gate(nn.Module):
    """z new + (1 - z) old with z = sigmoid(w . [new, old, new - old])."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * hidden, 1, bias=False)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:
        z = torch.sigmoid(self.proj(torch.cat([new, old, new - old], dim=-1)))
        return z * new + (1 - z) * old


class Block(nn.Module):
    """Attention and feed-forward, each with a norm before and a gate after."""

    def __init__(self, sizes: GraphTransformerSizes) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(sizes.hidden)
        self.attention = Attention(sizes)
        self.attention_gate = Gate(sizes.hidden)
        self.feed_forward_norm = nn.LayerNorm(sizes.hidden)
        self.widen = nn.Linear(sizes.hidden, 4 * sizes.hidden)
        self.narrow = nn.Linear(4 * sizes.hidden, sizes.hidden)
        self.feed_forward_gate = Gate(sizes.hidden)

    def forward(self, nodes: Tensor, x: Tensor, edge: nn.Linear, blocked: Tensor | None) -> Tensor:
        nodes = self.attention_gate(self.attention(self.attention_norm(nodes), x, edge, blocked), nodes)
        new = self.narrow(functional.gelu(self.widen(self.feed_forward_norm(nodes))))
        return self.feed_forward_gate(new, nodes)


class GraphTransformer(nn.Module):
    """Energies (or vectors) of beads from positions and network time.

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

    def forward(
        self, x: Float[Tensor, "batch bead 3"], t: Float[Tensor, " batch"], beads: Beads
    ) -> Float[Tensor, "batch bead outputs"]:
        """Decoded nodes of centered positions x (in the network's own length) at network time t."""
        batch = x.shape[0]
        features = [self._known(beads, x).expand(batch, -1, -1)]
        if self.sizes.positions:
            features.append(x)
        features.append(t.to(x).reshape(-1, 1, 1).expand(batch, x.shape[1], 1))
        nodes = self.node_embedding(torch.cat(features, dim=-1))
        blocked = None if beads.real is None else ~(beads.real.unsqueeze(0) & beads.real.unsqueeze(1))
        for block in self.blocks:
            nodes = block(nodes, x, self.edge_embedding, blocked)
        return self.decoder(nodes)

    def _known(self, beads: Beads, x: Tensor) -> Float[Tensor, "bead known"]:
        """What tells beads apart whatever the configuration."""
        place = functional.one_hot(beads.slots, self.sizes.slots).to(x)
        return place if beads.types is None else torch.cat([place, self.type_embedding(beads.types)], dim=-1)


def descent(
    network: GraphTransformer,
    x: Float[Tensor, "batch bead 3"],
    t: Float[Tensor, " batch"],
    beads: Beads,
    *,
    compat: bool = False,
) -> Float[Tensor, "batch bead 3"]:
    """What the network calls its output: -dE/dx of the summed energies, or the decoded vectors.

    Args:
        network: Network with 1 or 3 outputs.
        x: Positions in the network's length, not necessarily centered.
        t: Network time.
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

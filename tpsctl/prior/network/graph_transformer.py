"""The two-for-one graph transformer, without a tensor per pair and channel.

Nodes are beads, edges all pairs. One block is attention and a feed-forward layer, each on normalized nodes and
each joined to what it started from by a gate: with z = sigmoid(w . [new, old, new - old]), nodes become
z new + (1 - z) old. In the published formulation a pair adds an embedding e_ij of its geometry g_ij to key and
value of bead j as bead i sees them, a tensor [batch, bead, bead, heads x head_dim]. But e_ij is affine in g_ij:

    g_ij = (x_j - x_i, |x_i - x_j|^2)  or a part of it          e_ij = W_r (x_j - x_i) + w_s |x_i - x_j|^2 + b

Terms of q_i . e_ij that do not depend on j drop out of the softmax over j, and sums over j act on g_ij alone:

    logits   q_i . k_j  +  (W_r^T q_i) . x_j  +  (w_s . q_i) (|x_j|^2 - 2 x_i . x_j)
    out      W_o (sum_j A_ij v_j + b)  +  W_o W_r (m_i - x_i)  +  W_o w_s (|x_i|^2 + n_i - 2 x_i . m_i)

with W_o the output map, m_i = sum_j A_ij x_j and n_i = sum_j A_ij |x_j|^2. So keys and values grow by the four numbers
(x_j, |x_j|^2), and [batch, heads, bead, bead] is the largest tensor. Exact.

Rounding. Where the network's unit is small (Angstrom), logits reach hundreds and gates saturate. Precision was lost
in two places, both mended at no cost: a gate formed the derivative z (1 - z) from a z rounded to nearly one (`Gate`,
the larger half); and W_r and w_s met queries and outputs as vectors of head_dim numbers that nearly cancel: now
they are taken into the maps before and after the attention, in float64, and per head only scalars are left. Errors fell
from 4e-4 to 8e-5 in Angstrom (1e-6 in units of the data), which is the floor: with every product and norm in float64,
rounding only what passes from one to the next leaves 4e-5. Squares |x_i|^2 + |x_j|^2 - 2 x_i . x_j are not to blame:
x is centered, and differences give the same.

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

    @property
    def geometry(self) -> bool:
        """Whether pairs see any geometry."""
        return self.displacements or self.distances


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
        pair = self._pair_maps(edge)
        if self.sizes.geometry:
            square = x.square().sum(-1, keepdim=True)
            place = torch.cat([x, square], dim=-1) if self.sizes.distances else x
            place = place.unsqueeze(1).expand(-1, self.sizes.heads, -1, -1)
            toward = self._heads(functional.linear(nodes, pair.query, pair.query_bias))
            q = torch.cat([q, self._place_query(toward, x)], dim=-1)
            k, v = torch.cat([k, place], dim=-1), torch.cat([v, place], dim=-1)
        logits = q @ k.transpose(-1, -2) * self.sizes.head_dim**-0.5
        if blocked is not None:
            logits = logits.masked_fill(blocked, -torch.finfo(logits.dtype).max)
        out = torch.softmax(logits, dim=-1) @ v
        if not self.sizes.geometry:
            return functional.linear(out.transpose(1, 2).flatten(2), self.to_out.weight, pair.bias)
        out, mean = out[..., : self.sizes.head_dim], out[..., self.sizes.head_dim :]
        seen = self._mean_geometry(mean, x, square).transpose(1, 2).flatten(2)
        out = functional.linear(out.transpose(1, 2).flatten(2), self.to_out.weight, pair.bias)
        return out + seen @ pair.out.T

    def _heads(self, y: Float[Tensor, "batch bead columns"]) -> Float[Tensor, "batch head bead column"]:
        return y.unflatten(-1, (self.sizes.heads, -1)).transpose(1, 2)

    def _pair_maps(self, edge: nn.Linear) -> "PairMaps":
        """The map from pair features to keys and values, taken into the maps before and after the attention."""
        heads, size = self.sizes.heads, (self.sizes.heads, self.sizes.head_dim)
        to_kv = self.edges_to_kv.weight.double()
        pair = (to_kv @ edge.weight.double()).unflatten(0, size)  # (head, head_dim, feature)
        bias = to_kv @ edge.bias.double() + self.edges_to_kv.bias
        to_q, q_bias = (part.double().unflatten(0, size) for part in (self.to_q.weight, self.to_q.bias))
        to_out = self.to_out.weight.double()
        maps = (
            torch.einsum("hdf,hdn->hfn", pair, to_q).flatten(0, 1),
            torch.einsum("hdf,hd->hf", pair, q_bias).flatten(),
            torch.einsum("nhd,hdf->nhf", to_out.unflatten(1, (heads, -1)), pair).flatten(1),
            to_out @ bias + self.to_out.bias,
        )
        return PairMaps(*(part.to(self.to_q.weight) for part in maps))

    def _place_query(
        self, toward: Float[Tensor, "batch head bead feature"], x: Float[Tensor, "batch bead 3"]
    ) -> Float[Tensor, "batch head bead column"]:
        """What multiplies (x_j, |x_j|^2), or x_j alone, in the logits; toward = (W_r, w_s)^T q_i."""
        if not self.sizes.distances:
            return toward
        slope = toward[..., -1:]
        linear = -2 * slope * x.unsqueeze(1)
        if self.sizes.displacements:
            linear = linear + toward[..., :3]
        return torch.cat([linear, slope], dim=-1)

    def _mean_geometry(
        self, mean: Float[Tensor, "batch head bead column"], x: Tensor, square: Float[Tensor, "batch bead 1"]
    ) -> Float[Tensor, "batch head bead feature"]:
        """sum_j A_ij g_ij from the means of (x_j, |x_j|^2)."""
        x, features = x.unsqueeze(1), []
        if self.sizes.displacements:
            features.append(mean[..., :3] - x)
        if self.sizes.distances:
            cross = (x * mean[..., :3]).sum(-1, keepdim=True)
            features.append(square.unsqueeze(1) + mean[..., 3:] - 2 * cross)
        return torch.cat(features, dim=-1)


@dataclass(frozen=True)
class PairMaps:
    """Weights of one attention that the pair features' own weights were taken into.

    Attributes:
        query: (W_r, w_s)^T q_i = query nodes_i + query_bias, for each head.
        out: W_o (W_r, w_s) of all heads side by side.
        bias: W_o b plus the output map's own bias.
    """

    query: Float[Tensor, "head_feature hidden"]
    query_bias: Float[Tensor, " head_feature"]
    out: Float[Tensor, "hidden head_feature"]
    bias: Float[Tensor, " hidden"]


class Gate(nn.Module):
    """z new + (1 - z) old with z = sigmoid(a), a = w . [new, old, new - old].

    Computed from the smaller one of z and 1 - z. Autograd takes dz/da = z (1 - z) from z itself, which has no
    correct digit left in single precision once z is within 1e-7 of one.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * hidden, 1, bias=False)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:
        by_new, by_old, by_change = self.proj.weight.chunk(3, dim=1)
        a = functional.linear(new, by_new + by_change) + functional.linear(old, by_old - by_change)
        opened = a > 0
        step = torch.sigmoid(torch.where(opened, -a, a)) * (new - old)
        return torch.where(opened, new - step, old + step)


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

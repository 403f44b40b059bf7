"""The published network as its papers write it down: a tensor per pair of beads, and autograd for every derivative.

A pair of beads has an embedding e_ij of its geometry, which is projected and added to key and value of bead j as bead
i sees them. With all pairs written out these are tensors [image, bead, bead, heads x head_dim]:

    logits_ij = q_i . (k_j + e_ij) / sqrt(head_dim)        out_i = sum_j softmax_j(logits_ij) (v_j + e_ij)

One optimization step evaluates the truncated action of all images at once, with a graph through the score, which is
itself a derivative, and differentiates it once with respect to the path. Parameters are left as training left them.

This is a yardstick for time, memory and gradients, and is used for nothing else. Its parameters have the names of
tpsctl's network, so both can hold the same weights.

Source: Arts et al., arXiv:2302.00600; Dwivedi and Bresson, arXiv:2012.09699; the step as in arXiv:2504.18506.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.action.base import Dynamics
from tpsctl.networks.graph_transformer.network import GraphTransformerSizes


class PlainAttention(nn.Module):
    """Attention with keys and values of every pair."""

    def __init__(self, sizes: GraphTransformerSizes):
        super().__init__()
        inner = sizes.heads * sizes.head_dim
        self.heads = sizes.heads
        self.to_q = nn.Linear(sizes.hidden, inner)
        self.to_kv = nn.Linear(sizes.hidden, 2 * inner)
        self.edges_to_kv = nn.Linear(sizes.hidden, inner)
        self.to_out = nn.Linear(inner, sizes.hidden)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        q, k, v = self.to_q(nodes), *self.to_kv(nodes).chunk(2, dim=-1)
        q, k, v, e = (y.unflatten(-1, (self.heads, -1)) for y in (q, k, v, self.edges_to_kv(edges)))
        keys, values = k.unsqueeze(1) + e, v.unsqueeze(1) + e
        logits = torch.einsum("bihd,bijhd->bhij", q, keys) * q.shape[-1] ** -0.5
        out = torch.einsum("bhij,bijhd->bihd", logits.softmax(dim=-1), values)
        return self.to_out(out.flatten(2))


class PlainGate(nn.Module):
    """z new + (1 - z) old with z = sigmoid(w . [new, old, new - old])."""

    def __init__(self, hidden: int):
        super().__init__()
        self.proj = nn.Linear(3 * hidden, 1, bias=False)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:
        z = self.proj(torch.cat([new, old, new - old], dim=-1)).sigmoid()
        return new * z + old * (1 - z)


class PlainBlock(nn.Module):
    """Attention and feed-forward, each with a norm before and a gate after."""

    def __init__(self, sizes: GraphTransformerSizes):
        super().__init__()
        self.attention_norm = nn.LayerNorm(sizes.hidden)
        self.attention = PlainAttention(sizes)
        self.attention_gate = PlainGate(sizes.hidden)
        self.feed_forward_norm = nn.LayerNorm(sizes.hidden)
        self.widen = nn.Linear(sizes.hidden, 4 * sizes.hidden)
        self.narrow = nn.Linear(4 * sizes.hidden, sizes.hidden)
        self.feed_forward_gate = PlainGate(sizes.hidden)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        nodes = self.attention_gate(self.attention(self.attention_norm(nodes), edges), nodes)
        return self.feed_forward_gate(self.narrow(functional.gelu(self.widen(self.feed_forward_norm(nodes)))), nodes)


class PlainGraphTransformer(nn.Module):
    """Energies of beads from centered positions and network time; beads are known by their place only."""

    def __init__(self, sizes: GraphTransformerSizes):
        super().__init__()
        self.sizes = sizes
        self.node_embedding = nn.Linear(sizes.slots + 3 * sizes.positions + 1, sizes.hidden)
        self.edge_embedding = nn.Linear(sizes.pair_features, sizes.hidden)
        self.blocks = nn.ModuleList(PlainBlock(sizes) for _ in range(sizes.layers))
        self.decoder = nn.Linear(sizes.hidden, sizes.outputs)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        places = torch.eye(self.sizes.slots).to(x).expand(len(x), -1, -1)
        time = t.to(x).view(-1, 1, 1).expand(-1, x.shape[1], 1)
        nodes = self.node_embedding(torch.cat([places, x, time] if self.sizes.positions else [places, time], dim=-1))
        displacement = x.unsqueeze(1) - x.unsqueeze(2)
        features = [displacement] if self.sizes.displacements else []
        features += [displacement.square().sum(-1, keepdim=True)] if self.sizes.distances else []
        edges = self.edge_embedding(torch.cat(features, dim=-1))
        for block in self.blocks:
            nodes = block(nodes, edges)
        return self.decoder(nodes)


def plain_noise(network: PlainGraphTransformer, y: Tensor, time: float) -> Tensor:
    """-dE/dy at centered y, with a graph for another derivative, as the published code takes it."""
    centered = y - y.mean(1, keepdim=True)
    energy = network(centered, y.new_full((len(y),), time)).sum()
    return -torch.autograd.grad(energy, centered, create_graph=True)[0]


def plain_step(
    network: PlainGraphTransformer, path: Tensor, dynamics: Dynamics, *, time: float, sigma: float, scale_nm: float
) -> tuple[Tensor, Tensor]:
    """Truncated action A + B of a path (image, bead, 3) in nm, and its gradient with fixed ends, 1/nm.

    Args:
        network: Energies in the network's length.
        path: Images, nm.
        dynamics: Step and diffusion coefficients.
        time: Network time.
        sigma: Width of the noise at that time, in the network's length.
        scale_nm: Length of one network unit, nm.
    """
    path = path.detach().requires_grad_(True)
    d = dynamics.diffusion_like(path)
    score = -plain_noise(network, path[:-1] / scale_nm, time) / (sigma * scale_nm)
    kinetic = (path.diff(dim=0).square() / (4 * d * dynamics.dt_ps)).sum()
    action = kinetic + (dynamics.dt_ps * d * score.square() / 4).sum()
    (gradient,) = torch.autograd.grad(action, path)
    gradient[[0, -1]] = 0
    return action.detach(), gradient

"""The published network as its papers write it down: a tensor per pair of beads, and autograd for every derivative.

A pair of beads has an embedding e_ij of its geometry, which is projected and added to key and value of bead j as bead
i sees them. With all pairs written out these are tensors [image, bead, bead, heads x head_dim]:

    logits_ij = q_i . (k_j + e_ij) / sqrt(head_dim)        out_i = sum_j softmax_j(logits_ij) (v_j + e_ij)

One optimization step evaluates the truncated action of all images at once, with a graph through the score, which is
itself a derivative, and differentiates it once with respect to the path. Parameters are left as training left them.

This is a yardstick for time, memory and gradients, and is used for nothing else. It computes with the parameters of
tpsctl's trainable network, which ask for gradients as training leaves them, but with none of its formulas.

Source: Arts et al., arXiv:2302.00600; Dwivedi and Bresson, arXiv:2012.09699; the step as in arXiv:2504.18506.
"""

import torch
from torch import Tensor
from torch.nn import functional

from tpsctl.action.base import Dynamics
from tpsctl.networks.graph_transformer.layers import Attention, Block, Gate
from tpsctl.networks.graph_transformer.network import GraphTransformer


def plain_attention(attention: Attention, nodes: Tensor, edges: Tensor) -> Tensor:
    """Attention with keys and values of every pair."""
    q, k, v = attention.to_q(nodes), *attention.to_kv(nodes).chunk(2, dim=-1)
    q, k, v, e = (y.unflatten(-1, (attention.heads, -1)) for y in (q, k, v, attention.edges_to_kv(edges)))
    keys, values = k.unsqueeze(1) + e, v.unsqueeze(1) + e
    logits = torch.einsum("bihd,bijhd->bhij", q, keys) * q.shape[-1] ** -0.5
    out = torch.einsum("bhij,bijhd->bihd", logits.softmax(dim=-1), values)
    return attention.to_out(out.flatten(2))


def plain_gate(gate: Gate, new: Tensor, old: Tensor) -> Tensor:
    """z new + (1 - z) old with z = sigmoid(w . [new, old, new - old])."""
    z = gate.proj(torch.cat([new, old, new - old], dim=-1)).sigmoid()
    return new * z + old * (1 - z)


def plain_block(block: Block, nodes: Tensor, edges: Tensor) -> Tensor:
    """Attention and feed-forward, each with a norm before and a gate after."""
    nodes = plain_gate(
        block.attention_gate, plain_attention(block.attention, block.attention_norm(nodes), edges), nodes
    )
    wide = functional.gelu(block.widen(block.feed_forward_norm(nodes)))
    return plain_gate(block.feed_forward_gate, block.narrow(wide), nodes)


def plain_energies(network: GraphTransformer, x: Tensor, t: Tensor) -> Tensor:
    """Energies of beads from centered positions and network time; beads are known by their place only."""
    sizes = network.sizes
    places = torch.eye(sizes.slots).to(x).expand(len(x), -1, -1)
    time = t.to(x).view(-1, 1, 1).expand(-1, x.shape[1], 1)
    nodes = network.node_embedding(torch.cat([places, x, time] if sizes.positions else [places, time], dim=-1))
    displacement = x.unsqueeze(1) - x.unsqueeze(2)
    features = [displacement] if sizes.displacements else []
    features += [displacement.square().sum(-1, keepdim=True)] if sizes.distances else []
    edges = network.edge_embedding(torch.cat(features, dim=-1))
    for block in network.all_blocks():
        nodes = plain_block(block, nodes, edges)
    return network.decoder(nodes)


def plain_noise(network: GraphTransformer, y: Tensor, time: float) -> Tensor:
    """-dE/dy at centered y, with a graph for another derivative, as the published code takes it."""
    centered = y - y.mean(1, keepdim=True)
    energy = plain_energies(network, centered, y.new_full((len(y),), time)).sum()
    return -torch.autograd.grad(energy, centered, create_graph=True)[0]


def plain_step(
    network: GraphTransformer, path: Tensor, dynamics: Dynamics, *, time: float, sigma: float, scale_nm: float
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

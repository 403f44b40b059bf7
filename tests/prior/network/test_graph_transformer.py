"""The rewriting without pair tensors is exact: against the formulation with them, for every kind of pair geometry."""

import pytest
import torch

from tpsctl.prior.network.graph_transformer import Beads, GraphTransformer, GraphTransformerSizes, descent

BEADS = 6


def network(*, positions=True, displacements=False, distances=True, outputs=1, types=0):
    sizes = GraphTransformerSizes(BEADS, types, 8, 2, 2, 4, positions, displacements, distances, outputs)
    return GraphTransformer(sizes).double()


def with_pair_tensors(attention, nodes, x, edge, blocked):
    """The same attention with an embedding of every pair, [batch, bead, bead, heads x head_dim]."""
    sizes = attention.sizes
    difference = x.unsqueeze(1) - x.unsqueeze(2)  # [i, j] = x_j - x_i
    features = [difference] if sizes.displacements else []
    features += [difference.square().sum(-1, keepdim=True)] if sizes.distances else []
    features = torch.cat(features, dim=-1) if features else torch.zeros_like(difference[..., :1])
    pair = attention.edges_to_kv(edge(features)).unflatten(-1, (sizes.heads, sizes.head_dim))
    split = [attention.to_q(nodes), *attention.to_kv(nodes).chunk(2, -1)]
    q, k, v = (y.unflatten(-1, (sizes.heads, sizes.head_dim)) for y in split)
    logits = torch.einsum("bihd,bijhd->bhij", q, k.unsqueeze(1) + pair) * sizes.head_dim**-0.5
    out = torch.einsum("bhij,bijhd->bihd", torch.softmax(logits, -1), v.unsqueeze(1) + pair)
    return attention.to_out(out.flatten(2))


@pytest.mark.parametrize("displacements", [False, True])
@pytest.mark.parametrize("distances", [False, True])
def test_attention_equals_the_formulation_with_pair_tensors(displacements, distances):
    net = network(displacements=displacements, distances=distances)
    nodes, x = torch.randn(3, BEADS, 8), torch.randn(3, BEADS, 3)
    attention = net.blocks[0].attention
    found = attention(nodes, x, net.edge_embedding, None)
    torch.testing.assert_close(found, with_pair_tensors(attention, nodes, x, net.edge_embedding, None))


@pytest.mark.parametrize("positions", [False, True])
def test_descent_is_minus_the_gradient_of_the_energy(positions):
    net, x, t = network(positions=positions), torch.randn(1, BEADS, 3), torch.tensor([0.3])
    beads = Beads(torch.arange(BEADS))

    def energy(y):
        return net(y - y.mean(1, keepdim=True), t, beads).sum()

    found, step = descent(net, x, t, beads), 1e-5
    for i in range(3):
        shift = torch.zeros_like(x)
        shift[0, i, i] = step
        slope = (energy(x + shift) - energy(x - shift)) / (2 * step)
        assert slope.item() == pytest.approx(-float(found[0, i, i]), rel=1e-6, abs=1e-9)  # central difference


def test_only_the_published_treatment_has_a_net_force():
    net, x, t = network(), torch.randn(2, BEADS, 3), torch.tensor([0.3, 0.3])
    beads = Beads(torch.arange(BEADS))
    assert descent(net, x, t, beads).sum(1).abs().max() < 1e-12
    assert descent(net, x, t, beads, compat=True).sum(1).abs().max() > 1e-3
    torch.testing.assert_close(descent(net, x + 5.0, t, beads), descent(net, x, t, beads))


def test_padding_does_not_reach_real_beads():
    """Left out, as for users; carried along, as published, it changes forces but no real bead's energy."""
    net, t = network(types=10), torch.tensor([0.3])
    types = torch.tensor([6, 7, 0, 8, 0, 6])
    real = types != 0
    x = torch.randn(1, BEADS, 3)
    x = (x - x[:, real].mean(1, keepdim=True)) * real.view(1, -1, 1)
    padded = Beads(torch.arange(BEADS), types, real)
    without = Beads(torch.arange(BEADS)[real], types[real])
    torch.testing.assert_close(net(x, t, padded)[:, real], net(x[:, real], t, without))
    published = descent(net, x, t, padded, compat=True)[:, real]
    ours = descent(net, x[:, real], t, without)
    assert (published - ours).abs().max() > 1e-4


def test_vector_output_is_read_off():
    net = network(outputs=3)
    assert descent(net, torch.randn(2, BEADS, 3), torch.tensor([0.1, 0.1]), Beads(torch.arange(BEADS))).shape[-1] == 3


def test_one_hot_code_and_types_tell_beads_apart():
    net, x, t = network(types=10), torch.randn(1, BEADS, 3), torch.tensor([0.1])
    types = torch.full((BEADS,), 6)
    first = net(x, t, Beads(torch.arange(BEADS), types))
    types = types.clone()
    types[2] = 7
    assert not torch.allclose(first, net(x, t, Beads(torch.arange(BEADS), types)))

"""The rewriting without pair tensors is exact: against the formulation with them, for every kind of pair geometry."""

import pytest
import torch

from tpsctl.networks.graph_transformer.frozen import FrozenGraphTransformer
from tpsctl.networks.graph_transformer.layers import Places
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes, descent

BEADS = 6


def network(*, positions=True, displacements=False, distances=True, outputs=1, types=0):
    sizes = GraphTransformerSizes(BEADS, types, 8, 2, 2, 4, positions, displacements, distances, outputs)
    return FrozenGraphTransformer(GraphTransformer(sizes).double())


def with_pair_tensors(attention, nodes, x, edge):
    """The same attention with an embedding of every pair, [batch, bead, bead, heads x head_dim]."""
    difference = x.unsqueeze(1) - x.unsqueeze(2)  # [i, j] = x_j - x_i
    square = difference.square().sum(-1, keepdim=True)
    features = {1: square, 3: difference, 4: torch.cat([difference, square], dim=-1)}[edge.in_features]
    per_head = (attention.heads, attention.head_dim)
    pair = attention.edges_to_kv(edge(features)).unflatten(-1, per_head)
    split = [attention.to_q(nodes), *attention.to_kv(nodes).chunk(2, -1)]
    q, k, v = (y.unflatten(-1, per_head) for y in split)
    logits = torch.einsum("bihd,bijhd->bhij", q, k.unsqueeze(1) + pair) * attention.head_dim**-0.5
    out = torch.einsum("bhij,bijhd->bihd", torch.softmax(logits, -1), v.unsqueeze(1) + pair)
    return attention.to_out(out.flatten(2))


@pytest.mark.parametrize(("displacements", "distances"), [(False, True), (True, False), (True, True)])
def test_attention_equals_the_formulation_with_pair_tensors(displacements, distances):
    net = network(displacements=displacements, distances=distances)
    nodes, x = torch.randn(3, BEADS, 8), torch.randn(3, BEADS, 3)
    block, attend = net.network.blocks[0], net.maps()[0].attention
    found = attend(nodes.flatten(0, 1), Places.of(x, None)).view_as(nodes)
    expected = with_pair_tensors(block.attention, block.attention_norm(nodes), x, net.network.edge_embedding)
    torch.testing.assert_close(found, expected)
    shared = attend(nodes[0], Places.of(x, None)).view_as(nodes)  # the same nodes in every configuration
    expected = with_pair_tensors(
        block.attention, block.attention_norm(nodes[:1]).expand_as(nodes), x, net.network.edge_embedding
    )
    torch.testing.assert_close(shared, expected)


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


@pytest.mark.parametrize("positions", [False, True])
def test_one_time_for_all_is_the_same_time_for_each(positions):
    net, x = network(positions=positions, displacements=True), torch.randn(3, BEADS, 3)
    beads = Beads(torch.arange(BEADS))
    torch.testing.assert_close(net(x, torch.tensor([0.3]), beads), net(x, torch.full((3,), 0.3), beads))


def test_multiplied_out_weights_follow_the_parameters():
    net, x, t = network(), torch.randn(2, BEADS, 3), torch.tensor([0.3])
    beads = Beads(torch.arange(BEADS))
    before = net(x, t, beads)
    assert net.maps() is net.maps()
    with torch.no_grad():
        net.network.blocks[0].attention.to_q.weight.mul_(2)
    assert not torch.allclose(net(x, t, beads), before)
    single = net.float()(x.float(), t.float(), beads)
    assert single.dtype is torch.float32

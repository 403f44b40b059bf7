"""The trainable network: the function of the frozen one, and derivatives by parameters that training needs.

float64; 1e-12 of the largest value is a thousand roundings, and the two forms differ in nothing else.
"""

import pytest
import torch

from tpsctl.networks.graph_transformer.frozen import FrozenGraphTransformer
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes, descent

BEADS = 6
TYPES = torch.tensor([6, 7, 0, 8, 0, 6])
PADDED = Beads(torch.arange(BEADS), TYPES, TYPES != 0)
PLAIN = Beads(torch.arange(BEADS))
GEOMETRIES = [(False, False, True), (True, False, True), (False, True, False), (True, True, True), (True, False, False)]
"""Whether nodes see positions, and pairs displacements and distances."""

every_geometry = pytest.mark.parametrize(("positions", "displacements", "distances"), GEOMETRIES)


def network(positions=True, displacements=False, distances=True, *, outputs=1, types=0):
    sizes = GraphTransformerSizes(BEADS, types, 8, 2, 2, 4, positions, displacements, distances, outputs)
    return GraphTransformer(sizes).double()


def action_gradient(net, x, beads):
    """Output, and the gradient by x of its square: what a truncated action needs."""
    x = x.clone().requires_grad_(True)
    out = descent(net, x, torch.tensor([0.3]), beads)
    return out.detach(), torch.autograd.grad(out.square().sum(), x)[0]


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@every_geometry
@pytest.mark.parametrize("beads", [PLAIN, PADDED], ids=["plain", "padded"])
def test_frozen_is_the_same_function_with_the_same_derivatives(positions, displacements, distances, beads):
    net = network(positions, displacements, distances, types=0 if beads is PLAIN else 10)
    x, frozen = torch.randn(3, BEADS, 3), FrozenGraphTransformer(net)
    for t in (torch.tensor([0.3]), torch.tensor([0.1, 0.5, 0.9])):
        assert_equal(net(x, t, beads).detach(), frozen(x, t, beads))
    for found, expected in zip(action_gradient(net, x, beads), action_gradient(frozen, x, beads), strict=True):
        assert_equal(found, expected)


def test_the_state_dict_is_that_of_the_published_network():
    names = set(network(types=10).state_dict())
    assert {"node_embedding.weight", "type_embedding.weight", "blocks.1.attention.edges_to_kv.bias"} <= names
    assert {"blocks.0.attention_gate.proj.weight", "blocks.1.narrow.bias", "decoder.weight"} <= names


def test_a_loss_of_the_descent_has_the_gradient_of_central_differences():
    """Denoising: |f(x) - noise|^2, with f a derivative itself, by every sort of parameter."""
    net, x, noise = network(True, True, True, types=10), torch.randn(2, BEADS, 3), torch.randn(2, BEADS, 3)

    def loss():
        return (descent(net, x, torch.tensor([0.2, 0.7]), PADDED) - noise).square().sum()

    parameters = dict(net.named_parameters())
    # the energy's own constant has no slope by x, so the decoder's bias has no gradient
    exact = dict(
        zip(parameters, torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True), strict=True)
    )
    for name, parameter in parameters.items():
        direction, h = torch.randn_like(parameter), 1e-5
        with torch.no_grad():
            parameter.add_(h * direction)
            ahead = loss()
            parameter.sub_(2 * h * direction)
            behind = loss()
            parameter.add_(h * direction)
        slope = 0.0 if exact[name] is None else float((exact[name] * direction).sum())
        # O(h^2) of third derivatives, and rounding of the loss (about 1e2) over h: 1e2 * 1e-16 / 1e-5
        assert float(ahead - behind) / (2 * h) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


def test_third_derivatives_by_positions_are_there_when_training():
    """The divergence of a score, and its gradient: the trainable form has no limit of derivatives."""
    net, x = network(), torch.randn(1, BEADS, 3).requires_grad_(True)
    out = descent(net, x, torch.tensor([0.3]), PLAIN)
    probe = torch.randn_like(x)
    (by_x,) = torch.autograd.grad((out * probe).sum(), x, create_graph=True)
    (third,) = torch.autograd.grad((by_x * probe).sum(), x)
    assert third.isfinite().all()
    assert float(third.abs().max()) > 0


def test_training_goes_on_without_changing_what_was_frozen():
    net, x = network(), torch.randn(2, BEADS, 3)
    frozen = FrozenGraphTransformer(net)
    before = descent(frozen, x, torch.tensor([0.3]), PLAIN)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    descent(net, x, torch.tensor([0.3]), PLAIN).square().sum().backward()
    optimizer.step()
    assert torch.equal(descent(frozen, x, torch.tensor([0.3]), PLAIN), before)
    assert not torch.equal(descent(FrozenGraphTransformer(net), x, torch.tensor([0.3]), PLAIN), before)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_a_frozen_network_gives_no_graph_unless_positions_ask_for_one():
    frozen, x = FrozenGraphTransformer(network()), torch.randn(2, BEADS, 3)
    assert not descent(frozen, x, torch.tensor([0.3]), PLAIN).requires_grad
    assert descent(frozen, x.requires_grad_(True), torch.tensor([0.3]), PLAIN).requires_grad


def test_vectors_of_the_trainable_network_are_those_of_the_frozen():
    net, x = network(outputs=3), torch.randn(2, BEADS, 3)
    found = descent(net, x, torch.tensor([0.3]), PLAIN)
    assert_equal(found.detach(), descent(FrozenGraphTransformer(net), x, torch.tensor([0.3]), PLAIN))

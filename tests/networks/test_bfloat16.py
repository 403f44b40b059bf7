"""Products in bfloat16 round the network's products and nothing else, and only while they are asked for."""

import torch

from tpsctl.networks.bfloat16 import bfloat16_products
from tpsctl.networks.conditioned_perceptron import ConditionedPerceptron


def test_products_are_rounded_and_everything_else_stays_in_float32():
    torch.set_default_dtype(torch.float32)
    net = ConditionedPerceptron(20, 32, 2, 4)
    torch.nn.init.normal_(net.output.weight)
    z, level = torch.randn(64, 20, requires_grad=True), torch.rand(64)

    def value_and_gradients():
        value = net(z, level)
        (gradient,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), net.layers[0].weight)
        return value, gradient, twice

    exact = value_and_gradients()
    with bfloat16_products(torch.nn.ModuleList([net]), enabled=True):
        rounded = value_and_gradients()
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == torch.float32
        error = float((found - expected).norm() / expected.norm())
        assert 1e-4 < error < 0.03, "2^-9 per rounding, a dozen roundings"
    assert torch.equal(net(z, level), exact[0]), "it ends with the context"
    with bfloat16_products(net, enabled=False):
        assert torch.equal(net(z, level), exact[0])
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}

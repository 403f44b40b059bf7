"""Hand-written first and second derivatives against finite differences (torch's gradcheck and gradgradcheck)."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tpsctl.networks.graph_transformer.attend import attend
from tpsctl.networks.graph_transformer.second_order import (
    from_heads,
    gated,
    gelu,
    softmax,
    standardized,
    tilted,
    to_heads,
)


def rows(*shape):
    return torch.randn(*shape, requires_grad=True)


def attention(blocked=None):
    """Three configurations of two beads, two heads."""
    bias = torch.linspace(-1, 1, 12).view(2, 1, 6)
    return lambda q, k, v, x: attend(q, bias, k, v, x, blocked, beads=2)


def attended(*_):
    return rows(2, 6, 6), rows(2, 6, 6), rows(2, 6, 5), rows(6, 3)


LAYERS = {
    "attend": (attention(), attended),
    "attend, no pair sees the second bead": (attention(torch.tensor([[False, True], [False, True]])), attended),
    "attend, the first bead sees none": (attention(torch.tensor([[True, True], [False, False]])), attended),
    "attend, no places tilt queries": (lambda q, k, v: attention()(q, k, v, None), lambda: attended()[:3]),
    "gelu": (gelu, lambda: (rows(3, 4),)),
    "standardized": (standardized, lambda: (rows(3, 5),)),
    "softmax": (softmax, lambda: (rows(2, 3, 4),)),
    "gated": (lambda new, old: gated(new, old, torch.ones(4), torch.arange(4.0) - 1), lambda: (rows(3, 4), rows(3, 4))),
    "tilted": (tilted, lambda: (rows(2, 3, 6), rows(1, 3, 3))),
    "to_heads": (lambda y: to_heads(y, torch.arange(24.0).view(2, 3, 4)), lambda: (rows(5, 3),)),
    "from_heads": (lambda y: from_heads(y, torch.arange(24.0).view(2, 3, 4)), lambda: (rows(2, 5, 3),)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives(name):
    layer, inputs = LAYERS[name]
    assert gradcheck(layer, inputs())
    assert gradgradcheck(layer, inputs())


def test_values_are_those_of_torch():
    a, b = rows(3, 4), rows(3, 4)
    torch.testing.assert_close(gelu(a), torch.nn.functional.gelu(a))
    torch.testing.assert_close(standardized(a), torch.nn.functional.layer_norm(a, (4,)))
    torch.testing.assert_close(softmax(a), torch.softmax(a, -1))
    z = torch.sigmoid(a.sum(1, keepdim=True) - b.sum(1, keepdim=True))
    torch.testing.assert_close(tilted(a, b[:, :3]), torch.cat([a[:, -4:-1] - 2 * a[:, -1:] * b[:, :3], a[:, -1:]], 1))
    torch.testing.assert_close(gated(a, b, torch.ones(4), -torch.ones(4)), z * a + (1 - z) * b)


@pytest.mark.parametrize("name", ["gelu", "standardized", "softmax", "gated", "tilted", "attend"])
def test_third_derivatives_are_refused(name):
    """Even where what arrives is constant, and autograd would not notice that inputs are not."""
    layer, inputs = LAYERS[name]
    a = inputs()
    slopes = torch.autograd.grad(layer(*a).sum(), a, torch.tensor(1.0).requires_grad_(True), create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        torch.autograd.grad(slopes[0], a[0], torch.ones_like(slopes[0]), create_graph=True)


def test_a_saturated_gate_keeps_its_slope_in_single_precision():
    """1 - z = 2e-9: formed from z rounded to one it would be zero."""
    new, old = torch.full((1, 1), 20.0), torch.zeros(1, 1)
    slopes = []
    for dtype in (torch.float64, torch.float32):
        x = old.to(dtype).requires_grad_(True)
        (slope,) = torch.autograd.grad(gated(new.to(dtype), x, torch.ones(1).to(dtype), torch.zeros(1).to(dtype)), x)
        slopes.append(slope.item())
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-5)


def test_attention_is_that_of_torch():
    q, k, v, x = attended()
    bias = torch.linspace(-1, 1, 12).view(2, 1, 6)
    by_configuration = [part.unflatten(1, (3, 2)) for part in (tilted(q + bias, x), k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*by_configuration, scale=1.0).flatten(1, 2)
    torch.testing.assert_close(attention()(q, k, v, x), expected)

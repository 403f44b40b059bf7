"""Layers of frozen networks whose first and second derivatives are written by hand.

The gradient of |dE/dx|^2 differentiates a network twice: a backward pass through a backward pass. autograd can do this
for any formula, but it composes the second derivative of a softmax, a norm or a gate from a dozen elementary
operations, each of which is a pass over memory. Here every layer is a pair of functions. The first computes the layer,
and its backward calls the second, the slope. The backward of the slope computes

    d/dg, d/da of  h . slope(g, a)        g the incoming gradient, a the layer's input, h arbitrary

in closed form. Weights are constants and get no derivatives. Third derivatives are refused; the gradient of a
divergence is a finite difference (`tpsctl.action.divergence`).

`to_heads` and `from_heads` are linear, and the derivative of each is the other. They convert between [row, channel] and
[head, row, channel] by one matrix product per head, so that heads are never transposed in memory.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

_EPSILON = 1e-5
"""The number that `torch.nn.LayerNorm` adds to variances."""


def gelu(a: Tensor) -> Tensor:
    """The exact GELU, a Phi(a), with the normal distribution function Phi."""
    return _Gelu.apply(a)


def standardized(a: Float[Tensor, "row channel"]) -> Float[Tensor, "row channel"]:
    """Shift and scale each row to mean 0 and variance 1: a layer norm without weights."""
    return _Norm.apply(a)


def softmax(a: Tensor) -> Tensor:
    """Softmax over the last dimension."""
    return _Softmax.apply(a)


def gated(
    new: Float[Tensor, "row channel"],
    old: Float[Tensor, "row channel"],
    by_new: Float[Tensor, " channel"],
    by_old: Float[Tensor, " channel"],
) -> Float[Tensor, "row channel"]:
    """z new + (1 - z) old with z = sigmoid(by_new . new + by_old . old).

    With z = sigmoid(a), 1 - z is computed as sigmoid(-a), in the value and in the derivatives: in single precision,
    subtracting z from 1 leaves no correct digit if z is within 1e-7 of 1. (`torch.lerp` subtracts; with it, forces of
    networks in Angstrom had errors ten times as large.)
    """
    return _Gate.apply(new, old, by_new, by_old)


def tilted(q: Float[Tensor, "*rows column"], x: Float[Tensor, "*x_rows 3"]) -> Float[Tensor, "*rows column"]:
    """Replace r by r - 2 s x, where the last four columns of the queries q are (r, s); x is broadcast.

    The product of a tilted query with p_j = (x_j, |x_j|^2) is r . x_j + s (|x_j|^2 - 2 x . x_j).
    """
    return _Tilt.apply(q, x)


def to_heads(
    y: Float[Tensor, "row channel"], weight: Float[Tensor, "head channel out"]
) -> Float[Tensor, "head row out"]:
    """y @ weight[h] for every head h."""
    return _ToHeads.apply(y, weight)


def from_heads(
    y: Float[Tensor, "head row channel"], weight: Float[Tensor, "head channel out"]
) -> Float[Tensor, "row out"]:
    """sum_h y[h] @ weight[h]."""
    return _FromHeads.apply(y, weight)


def refuse_third_derivatives() -> None:
    """Refuse a third derivative; the backward of every slope calls this.

    In that backward, gradients are enabled only if its result is to be differentiated once more (`create_graph`).

    Raises:
        NotImplementedError: Gradients are enabled.
    """
    if torch.is_grad_enabled():
        raise NotImplementedError(
            "third derivatives of a graph transformer: not implemented. Differentiate without create_graph, or take "
            "a difference of second derivatives."
        )


def rowwise(a: Tensor, b: Tensor) -> Tensor:
    """The product a . b of every row, as a column."""
    return (a * b).sum(-1, keepdim=True)


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return functional.gelu(a)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _GeluSlope.apply(grads[0], *ctx.saved_tensors)


class _GeluSlope(Function):
    """The slope g gelu'(a); gelu''(a) = phi(a) (2 - a^2) with the normal density phi."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, a: Tensor) -> Tensor:
        ctx.save_for_backward(g, a)
        return torch.ops.aten.gelu_backward(g, a)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (h,), (g, a) = grads, ctx.saved_tensors
        refuse_third_derivatives()
        square = a * a
        density = (-0.5 * square).exp_().mul_(1 / math.sqrt(2 * math.pi))
        by_a = density.mul_(square.neg_().add_(2)).mul_(g).mul_(h)
        return torch.ops.aten.gelu_backward(h, a), by_a


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        y, mean, precision = torch.ops.aten.native_layer_norm(a, a.shape[-1:], None, None, _EPSILON)
        ctx.save_for_backward(a, y, mean, precision)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _NormSlope.apply(grads[0], *ctx.saved_tensors)


class _NormSlope(Function):
    """The slope r P g with P g = g - mean(g) - y mean(y g), r = 1/std and means over a row; P is symmetric."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, a: Tensor, y: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
        slope = _norm_slope(g, a, mean, precision)
        ctx.save_for_backward(g, a, y, mean, precision, slope)
        return slope

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (h,), (g, a, y, mean, r, slope) = grads, ctx.saved_tensors
        refuse_third_derivatives()
        n = a.shape[-1]
        crossed = torch.addcmul(h * (rowwise(g, y) / n), g, rowwise(h, y) / n)
        by_a = _norm_slope(crossed, a, mean, r).addcmul_(y, rowwise(h, slope) / n).mul_(-r)
        return _norm_slope(h, a, mean, r), by_a, None, None, None


def _norm_slope(g: Tensor, a: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    wanted = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(g, a, a.shape[-1:], mean, precision, None, None, wanted)[0]


class _Softmax(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        p = torch.softmax(a, dim=-1)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _SoftmaxSlope.apply(grads[0], *ctx.saved_tensors)


class _SoftmaxSlope(Function):
    """The slope p (g - p . g) as a function of g and of p itself."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, p: Tensor) -> Tensor:
        ctx.save_for_backward(g, p)
        return softmax_slope(g, p)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (h,), (g, p) = grads, ctx.saved_tensors
        refuse_third_derivatives()
        by_p = (g - rowwise(p, g)).mul_(h).addcmul_(g, rowwise(p, h), value=-1)
        return softmax_slope(h, p), by_p


def softmax_slope(g: Tensor, p: Tensor) -> Tensor:
    """The slope p (g - p . g) of a softmax p over the last dimension, for the incoming gradient g."""
    return torch.ops.aten._softmax_backward_data(g, p, -1, p.dtype)


class _Gate(Function):
    @staticmethod
    def forward(ctx: Any, new: Tensor, old: Tensor, by_new: Tensor, by_old: Tensor) -> Tensor:
        a = (new @ by_new + old @ by_old).unsqueeze(-1)
        z, rest = torch.sigmoid(a), torch.sigmoid(-a)
        ctx.save_for_backward(new, old, z, rest, by_new, by_old)
        change = new - old
        return torch.where(a > 0, torch.addcmul(new, change, rest, value=-1), torch.addcmul(old, change, z))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return *_GateSlope.apply(grads[0], *ctx.saved_tensors), None, None


class _GateSlope(Function):
    """The slope (z g + s by_new, (1 - z) g + s by_old).

    Here s = z' g . (new - old), z' = z (1 - z) and z'' = z' (1 - 2 z).
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, new: Tensor, old: Tensor, z: Tensor, rest: Tensor, by_new: Tensor, by_old: Tensor
    ) -> tuple[Tensor, Tensor]:
        change, z1 = new - old, z * rest
        along = rowwise(g, change)
        ctx.save_for_backward(g, change, along, z, rest, by_new, by_old)
        return (z * g).addcmul_(z1 * along, by_new), (rest * g).addcmul_(z1 * along, by_old)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (h_new, h_old), (g, change, along, z, rest, by_new, by_old) = grads, ctx.saved_tensors
        refuse_third_derivatives()
        z1, difference = z * rest, h_new - h_old
        tilt = (h_new @ by_new + h_old @ by_old).unsqueeze(-1) * z1
        by_a = z1 * rowwise(difference, g) + tilt * (rest - z) * along
        by_change = tilt * g
        by_g = difference.mul_(z).add_(h_old).addcmul_(tilt, change)
        return by_g, torch.addcmul(by_change, by_a, by_new), by_a * by_old - by_change, None, None, None, None


def tilt_(q: Float[Tensor, "*rows column"], x: Float[Tensor, "*x_rows 3"]) -> Float[Tensor, "*rows column"]:
    """`tilted` in place and without derivatives; it is linear in q."""
    q[..., -4:-1].addcmul_(q[..., -1:], x, value=-2)
    return q


def tilt_back_(g: Float[Tensor, "*rows column"], x: Float[Tensor, "*x_rows 3"]) -> Float[Tensor, "*rows column"]:
    """The transpose of the linear map `tilt_`, in place."""
    g[..., -1:] -= 2 * rowwise(g[..., -4:-1], x)
    return g


class _Tilt(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(q, x)
        return tilt_(q.clone(), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _TiltSlope.apply(grads[0], *ctx.saved_tensors)


class _TiltSlope(Function):
    """The slope: by q it is g with -2 g_r . x added to the last column, by x it is -2 s g_r. Both are bilinear."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, q: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(g, q, x)
        return tilt_back_(g.clone(), x), (-2 * q[..., -1:] * g[..., -4:-1]).sum_to_size(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (h_q, h_x), (g, q, x) = grads, ctx.saved_tensors
        refuse_third_derivatives()
        slope = g[..., -4:-1]
        by_g = tilt_(h_q.clone(), x)
        by_g[..., -4:-1].addcmul_(q[..., -1:], h_x, value=-2)
        by_q = torch.zeros_like(q)
        by_q[..., -1:] = -2 * rowwise(slope, h_x)
        return by_g, by_q, (-2 * h_q[..., -1:] * slope).sum_to_size(x.shape)


class _ToHeads(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return torch.bmm(y.expand(len(weight), -1, -1), weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _FromHeads.apply(grads[0], ctx.weight.mT), None


class _FromHeads(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        total = y[0] @ weight[0]
        for one, its_weight in zip(y[1:], weight[1:], strict=True):
            total.addmm_(one, its_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _ToHeads.apply(grads[0], ctx.weight.mT), None

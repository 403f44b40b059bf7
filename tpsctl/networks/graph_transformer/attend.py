"""Attention as one function: weighted means over beads, with first and second derivatives written by hand.

Every head and configuration has queries q, keys k, values v and positions x of its beads. Then

    q' = q + bias
    P  = softmax(q' k^T)                 out = P v

If positions tilt the queries, the last four columns of q' are (r, s), and r - 2 s x takes the place of r.

Let g be the incoming gradient, with respect to `out`. With G = g v^T and L = P * (G - rowsum(P * G)), the gradient with
respect to the logits, the first derivatives are

    by q' = L k,    by k = L^T q',    by v = P^T g

Let h_q, h_k, h_v be the incoming gradients with respect to these three. With < . > = rowsum(P * .), the second
derivatives are

    u = h_q k^T + q' h_k^T        t = P * (u - <u>)        w = g h_v^T + (G - <G>) * u - G <u>,   W = P * (w - <w>)
    by g = P h_v + t v            by v = t^T g
    by q' = L h_k + W k           by k = L^T h_q + W^T q'

Being one function, it adds products to existing tensors in place and makes few copies. The other layers of the network
are written in the same way in `second_order`.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function

from tpsctl.networks.graph_transformer.second_order import (
    refuse_third_derivatives,
    rowwise,
    softmax_slope,
    tilt_,
    tilt_back_,
)


def attend(
    q: Float[Tensor, "head row column"],
    bias: Float[Tensor, "head 1 column"],
    k: Float[Tensor, "head row column"],
    v: Float[Tensor, "head row value"],
    x: Float[Tensor, "row 3"] | None,
    blocked: Bool[Tensor, "bead bead"] | None,
    *,
    beads: int,
) -> Float[Tensor, "head row value"]:
    """Attention-weighted means of v over the beads of the same configuration.

    Args:
        q: Queries without their bias, one row for each bead of each configuration.
        bias: Bias of the queries; it gets no gradient.
        k: Keys.
        v: Values.
        x: Positions that tilt the queries (`second_order.tilted`); None if nothing tilts them.
        blocked: True for pairs of beads that do not attend to each other; None if there are none.
        beads: Number of beads in a configuration.

    Raises:
        NotImplementedError: A third derivative is requested.
    """
    return _Attend.apply(q, bias, k, v, x, blocked, beads)


class _Attend(Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        given, bias, k, v, x, blocked, beads = inputs
        q = given + bias
        if x is not None:
            tilt_(q, x)
        pairs = _Pairs(beads, blocked)
        logits = torch.bmm(pairs(q), pairs(k).mT)
        p = torch.softmax(pairs.masked(logits, -torch.finfo(logits.dtype).max), dim=-1)
        ctx.save_for_backward(given, k, v, x, q, p)
        ctx.pairs = pairs
        return torch.bmm(p, pairs(v)).view_as(v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        by_q, by_k, by_v, by_x = _Slope.apply(grads[0], *ctx.saved_tensors, ctx.pairs)
        return by_q, None, by_k, by_v, by_x, None, None


class _Slope(Function):
    """The first derivatives with respect to q, k, v and x.

    The arguments hold q twice: as it was given to `attend`, and with bias and tilt as q'.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        g, _, k, v, x, q, p, pairs = inputs
        by_p = torch.bmm(pairs(g), pairs(v).mT)
        by_logits = pairs.masked(softmax_slope(by_p, p))
        by_q = torch.bmm(by_logits, pairs(k)).view_as(q)
        by_x = None
        if x is not None:
            by_x = (q[..., -1:] * by_q[..., -4:-1]).sum(0).mul_(-2)
            tilt_back_(by_q, x)
        ctx.save_for_backward(g, q, k, v, p, x, by_p, by_logits, by_q[..., -4:-1])
        ctx.pairs = pairs
        by_k, by_v = torch.bmm(by_logits.mT, pairs(q)), torch.bmm(p.mT, pairs(g))
        return by_q, by_k.view_as(k), by_v.view_as(v), by_x

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        h_q, h_k, h_v, h_x = grads
        g, q, k, v, p, x, by_p, by_logits, by_r = ctx.saved_tensors
        refuse_third_derivatives()
        pairs, s = ctx.pairs, q[..., -1:]
        if x is not None:
            h_q = tilt_(h_q.clone(), x)
            h_q[..., -4:-1].addcmul_(s, h_x, value=-2)
        g_, q_, k_, v_, h_q_, h_k_, h_v_ = (pairs(part) for part in (g, q, k, v, h_q, h_k, h_v))
        u = pairs.masked(torch.bmm(h_q_, k_.mT).baddbmm_(q_, h_k_.mT))
        w = torch.bmm(g_, h_v_.mT).addcmul_(by_p, rowwise(p, u), value=-1)
        w.addcmul_(by_p - rowwise(p, by_p), u)
        t, w = softmax_slope(u, p), pairs.masked(softmax_slope(w, p))
        q_again = torch.bmm(by_logits, h_k_).baddbmm_(w, k_).view_as(q)
        k_again = torch.bmm(by_logits.mT, h_q_).baddbmm_(w.mT, q_).view_as(k)
        g_again, v_again = torch.bmm(p, h_v_).baddbmm_(t, v_).view_as(g), torch.bmm(t.mT, g_).view_as(v)
        x_again = None
        if x is not None:
            x_again = (h_q[..., -1:] * by_r + s * q_again[..., -4:-1]).sum(0).mul_(-2)
            tilt_back_(q_again, x)[..., -1:] -= 2 * rowwise(by_r, h_x)
        return g_again, q_again, k_again, v_again, x_again, None, None, None


class _Pairs:
    """Splits rows of all configurations into one matrix per head and configuration, and masks blocked pairs."""

    def __init__(self, beads: int, blocked: Bool[Tensor, "bead bead"] | None) -> None:
        self._beads, self._blocked = beads, blocked

    def __call__(self, rows: Float[Tensor, "head row column"]) -> Float[Tensor, "matrix bead column"]:
        return rows.reshape(-1, self._beads, rows.shape[-1])

    def masked(self, matrix: Float[Tensor, "matrix bead bead"], value: float = 0.0) -> Tensor:
        """Put `value` at the blocked pairs of a matrix, in place.

        A bead whose pairs are all blocked still has weights (all equal), but its derivatives are 0.
        """
        return matrix if self._blocked is None else matrix.masked_fill_(self._blocked, value)

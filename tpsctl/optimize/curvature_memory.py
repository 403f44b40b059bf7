"""Limited-memory BFGS for a batch of paths, each with its own pairs, over any initial inverse Hessian.

From pairs s = change of position, y = change of gradient the two-loop recursion applies an inverse Hessian that
agrees with what was seen along the last steps and with H0 elsewhere. A pair without positive curvature is left out.

Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


class CurvatureMemory:
    """The latest pairs (s, y) of every path, newest last, and the inverse Hessian that follows from them.

    Args:
        like: Tensor (path, ...) of the shape of the variables.
        pairs: Number of pairs that are kept.
    """

    def __init__(self, like: Tensor, pairs: int) -> None:
        shape = (like.shape[0], pairs, like[0].numel())
        self.s, self.y = like.new_zeros(shape), like.new_zeros(shape)

    def push(self, index: Tensor, s: Tensor, y: Tensor) -> None:
        """Remember one more pair of the paths `index`."""
        for store, new in ((self.s, s), (self.y, y)):
            store[index] = torch.cat([store[index][:, 1:], new.flatten(1).unsqueeze(1)], dim=1)

    def forget(self, index: Tensor) -> None:
        """Drop all pairs of the paths `index`."""
        self.s[index], self.y[index] = 0, 0

    def apply(self, index: Tensor, gradient: Tensor, inverse: Callable[[Tensor], Tensor]) -> Tensor:
        """Inverse Hessian of the paths `index` times their gradients (path, ...).

        Args:
            index: Numbers of the paths.
            gradient: Gradients of these paths.
            inverse: The map g -> H0 g of the initial inverse Hessian.
        """
        s, y = self.s[index], self.y[index]
        weight = _weights(s, y)
        q, used = gradient.flatten(1), []
        for k in reversed(range(s.shape[1])):
            a = weight[:, k] * (s[:, k] * q).sum(1)
            q = q - a.unsqueeze(1) * y[:, k]
            used.append(a)
        r = inverse(q.view_as(gradient)).flatten(1)
        for k, a in zip(range(s.shape[1]), reversed(used), strict=True):
            b = weight[:, k] * (y[:, k] * r).sum(1)
            r = r + (a - b).unsqueeze(1) * s[:, k]
        return r.view_as(gradient)


def _weights(s: Tensor, y: Tensor) -> Float[Tensor, "path pair"]:
    """1 / s.y, and 0 for empty pairs and those without positive curvature."""
    product = (s * y).sum(2)
    useful = product > 1e-10 * s.norm(dim=2) * y.norm(dim=2)
    return torch.where(useful, 1 / torch.where(useful, product, 1.0), 0.0)

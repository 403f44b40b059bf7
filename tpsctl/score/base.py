"""A score at one diffusion time, with the derivatives that actions and optimizers need.

    score(x) = grad_x log p_t(x)            shape (batch, bead, dim), 1/nm

Actions differentiate |score|^2, so besides the value they need products with its Jacobian
J = d score / d x (1/nm^2; symmetric for a conservative score). `AutogradScore` gets them by
double backward, `FiniteDifferenceScore` by central differences of a score that autograd cannot
follow (OpenMM). A model may bring its own, faster subclass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

VectorProduct = Callable[[Tensor], Tensor]


class Score(ABC):
    """grad log p as a function of a batch of configurations, nm -> 1/nm.

    Attributes:
        conservative: Whether it is the gradient of a scalar.
        parallel: Whether threads may evaluate it at the same time, and gain by it.
    """

    conservative: bool = True
    parallel: bool = False

    @abstractmethod
    def __call__(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch bead dim"]:
        """Score of each configuration, detached from any graph."""

    @abstractmethod
    def with_vjp(self, x: Float[Tensor, "batch bead dim"]) -> tuple[Tensor, VectorProduct]:
        """Score and the map v -> J^T v (both (batch, bead, dim)), from one evaluation."""

    @abstractmethod
    def jvp(self, x: Float[Tensor, "batch bead dim"], v: Float[Tensor, "batch bead dim"]) -> Tensor:
        """J v, one product per configuration."""

    def jacobian(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch n n"]:
        """Dense J with n = bead * dim, J[b, i, j] = d score_i / d x_j: one evaluation, and n products with J^T.

        A product with the i-th unit vector is row i of J. It is column i as well if the score is conservative.
        """
        n = x[0].numel()
        _, vjp = self.with_vjp(x)
        units = torch.eye(n, dtype=x.dtype, device=x.device).view(n, 1, *x.shape[1:])
        products = [vjp(unit.expand_as(x)).flatten(1) for unit in units]
        return torch.stack(products, dim=2 if self.conservative else 1)


class AutogradScore(Score):
    """Score given as a function that autograd can differentiate once more."""

    def __init__(
        self, score_fn: Callable[[Tensor], Tensor], *, conservative: bool = True, parallel: bool = False
    ) -> None:
        self._score_fn = score_fn
        self.conservative, self.parallel = conservative, parallel

    def __call__(self, x: Tensor) -> Tensor:
        return self._score_fn(x.detach()).detach()

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            score = self._score_fn(x)

        def vjp(v: Tensor) -> Tensor:
            if not score.requires_grad:
                return torch.zeros_like(x)
            with torch.enable_grad():  # as a scalar: with v as an argument torch imports sympy first, which takes 1 s
                along = (score * v).sum()
            return torch.autograd.grad(along, x, retain_graph=True)[0]

        return score.detach(), vjp

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        if self.conservative:
            return self.with_vjp(x)[1](v)
        x = x.detach().requires_grad_(True)
        dummy = torch.zeros_like(x, requires_grad=True)
        with torch.enable_grad():
            (vjp_of_dummy,) = torch.autograd.grad(self._score_fn(x), x, dummy, create_graph=True)
        return torch.autograd.grad(vjp_of_dummy, dummy, v)[0]


class FiniteDifferenceScore(Score):
    """Conservative score that autograd cannot follow; products by central differences.

    Args:
        score_fn: Score of a batch, 1/nm.
        step_nm: Length of the displacement for a product, nm (per configuration, along v).
    """

    def __init__(self, score_fn: Callable[[Tensor], Tensor], *, step_nm: float = 1e-5) -> None:
        self._score_fn = score_fn
        self._step_nm = step_nm

    def __call__(self, x: Tensor) -> Tensor:
        return self._score_fn(x.detach())

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        return self(x), lambda v: self.jvp(x, v)  # J is symmetric

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        x = x.detach()
        largest = v.flatten(1).abs().amax(1).clamp_min(torch.finfo(v.dtype).tiny).reshape(-1, 1, 1)
        h = self._step_nm / largest
        return (self._score_fn(x + h * v) - self._score_fn(x - h * v)) / (2 * h)

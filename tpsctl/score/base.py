"""A score at one diffusion time, with the products of its Jacobian that actions and optimizers need.

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
"""A linear map v -> J v or v -> J^T v."""


class Score(ABC):
    """grad log p as a function of a batch of configurations, nm -> 1/nm.

    Attributes:
        conservative: Whether the score is the gradient of a scalar, so that J is symmetric.
        parallel: Whether several threads may evaluate the score at the same time and are faster together.
    """

    conservative: bool = True
    parallel: bool = False

    @abstractmethod
    def __call__(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch bead dim"]:
        """Score of each configuration (x in nm), 1/nm, detached from any autograd graph."""

    @abstractmethod
    def with_vjp(self, x: Float[Tensor, "batch bead dim"]) -> tuple[Tensor, VectorProduct]:
        """Score, 1/nm, and the map v -> J^T v, from one evaluation; v and J^T v have the shape of x."""

    @abstractmethod
    def jvp(self, x: Float[Tensor, "batch bead dim"], v: Float[Tensor, "batch bead dim"]) -> Tensor:
        """J v for each configuration, in the shape of x."""

    def jacobian(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, "batch n n"]:
        """Dense J, 1/nm^2, with J[b, i, j] = d score_i / d x_j and n = bead * dim.

        It takes one evaluation and n products with J^T. The product with the i-th unit vector is row i of J, and column
        i as well if the score is conservative.
        """
        n = x[0].numel()
        _, vjp = self.with_vjp(x)
        units = torch.eye(n, dtype=x.dtype, device=x.device).view(n, 1, *x.shape[1:])
        products = [vjp(unit.expand_as(x)).flatten(1) for unit in units]
        return torch.stack(products, dim=2 if self.conservative else 1)


class AutogradScore(Score):
    """Score given as a function that autograd can differentiate.

    Args:
        score_fn: Score of a batch (batch, bead, dim), nm -> 1/nm.
        conservative: Whether the score is the gradient of a scalar.
        parallel: Whether several threads may evaluate the score at the same time and are faster together.
    """

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
            with torch.enable_grad():  # of a scalar: given v as an argument, torch first imports sympy, which takes 1 s
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
    """Conservative score that autograd cannot differentiate; products with J are central differences.

    Args:
        score_fn: Score of a batch (batch, bead, dim), nm -> 1/nm.
        step_nm: Largest displacement of a coordinate in the difference for a product, nm.
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

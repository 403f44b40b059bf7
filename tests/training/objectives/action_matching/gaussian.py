"""A Gaussian that moves and widens, q_t = N(m(t), sigma(t)^2 I): closed forms of Action Matching, and quadrature.

With y = x - m and noise of strength c, the best potentials and their losses are

    plain        m'.y + (sigma'/sigma) |y|^2 / 2
                 -1/2 int [ |m'|^2 + d sigma'^2 ] dt
    entropic     m'.y + (sigma'/sigma - c^2 / 2 sigma^2) |y|^2 / 2
                 -1/2 int [ |m'|^2 + d (sigma' - c^2 / 2 sigma)^2 ] dt
    unbalanced   m'.y / (1 + sigma^2) + k/2 (|y|^2 - d sigma^2) ,  k = (sigma'/sigma) / (1 + sigma^2/2)
                 -1/2 int [ |m'|^2 / (1 + sigma^2) + d sigma'^2 / (1 + sigma^2/2) ] dt
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tpsctl.score.hamilton_jacobi import hjb_residual
from tpsctl.training.objectives.action_matching.marginals import Marginals

NOISE = 0.5
ROWS = ((0.5, 1.0, 1.3), (1.0, 1.0, 1.0), (1.0, 0.5, 1.0))
"""Displacement mu, first and last width."""


@dataclass(frozen=True)
class MovingGaussian(Marginals):
    """m = mu t in every coordinate, sigma linear from `first` to `last`; both ends and the middle share the noise."""

    mu: float
    first: float
    last: float
    dims: int = 1

    def width(self, t: Tensor) -> Tensor:
        return self.first + self.rate * t

    @property
    def rate(self) -> float:
        return self.last - self.first

    def draw(self, t, generator):
        z = torch.randn(len(t), self.dims, generator=generator, dtype=torch.float32)
        return tuple(
            (self.mu * time + self.width(time) * z.double().T).T.float() for time in (0 * t, t, torch.ones_like(t))
        )

    def tensors(self):
        return (torch.tensor([self.mu, self.first, self.last]),)

    def plain(self, x: Tensor, t: Tensor) -> Tensor:
        return self.entropic(x, t, noise=0.0)

    def entropic(self, x: Tensor, t: Tensor, noise: float = NOISE) -> Tensor:
        y, sigma = x - self.mu * t.unsqueeze(-1), self.width(t)
        stretch = self.rate / sigma - noise**2 / (2 * sigma**2)
        return self.mu * y.sum(-1) + stretch / 2 * y.square().sum(-1)

    def unbalanced(self, x: Tensor, t: Tensor) -> Tensor:
        y, sigma = x - self.mu * t.unsqueeze(-1), self.width(t)
        stretch = self.rate / sigma / (1 + sigma**2 / 2)
        return self.mu * y.sum(-1) / (1 + sigma**2) + stretch / 2 * (y.square().sum(-1) - self.dims * sigma**2)


def expectation(q: MovingGaussian, t: Tensor, function) -> Tensor:
    """E_qt f(x, t) for every time, by Gauss-Hermite quadrature in one dimension, with a graph."""
    nodes, weights = (torch.tensor(a) for a in np.polynomial.hermite_e.hermegauss(40))
    x = q.mu * t.unsqueeze(1) + q.width(t).unsqueeze(1) * nodes
    times = t.unsqueeze(1).expand_as(x)
    values = function(x.reshape(-1, 1), times.reshape(-1)).view_as(x)
    return (values * weights).sum(1) / weights.sum()


def loss_by_quadrature(q: MovingGaussian, potential, *, noise=0.0, growth=0.0, first=1.0, last=1.0) -> float:
    """The loss of a potential in one dimension, with a weight that is linear between `first` and `last`."""
    nodes, weights = (torch.tensor(a) for a in np.polynomial.legendre.leggauss(40))
    t, ends = (nodes + 1) / 2, torch.tensor([0.0, 1.0])

    def inside(x, time):
        found = hjb_residual(potential, x, time, noise=noise, growth=growth)
        return (first + (last - first) * time) * found.residual + (last - first) * found.value

    at_ends = expectation(q, ends, potential)
    integral = (expectation(q, t, inside) * weights / 2).sum()
    return float((first * at_ends[0] - last * at_ends[1] + integral).detach())

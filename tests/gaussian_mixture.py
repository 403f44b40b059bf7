"""A mixture of isotropic Gaussians, whose density and score are known at every noise width."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k w_k N(m_k, s_k^2 I); with noise of width r added, every s_k^2 grows by r^2.

    Attributes:
        weights: w_k, (component,), with sum 1.
        means: m_k, (component, dim).
        stds: s_k, (component,).
    """

    weights: Tensor
    means: Tensor
    stds: Tensor

    def log_density(self, y: Tensor, width: float | Tensor = 0.0) -> Tensor:
        """log p (batch,) of points y (batch, dim) with noise of this width, normalized."""
        variance = self.stds**2 + torch.as_tensor(width).reshape(-1, 1) ** 2
        away = (y.unsqueeze(1) - self.means).square().sum(-1)
        dim = self.means.shape[1]
        parts = self.weights.log() - away / (2 * variance) - dim / 2 * torch.log(2 * math.pi * variance)
        return torch.logsumexp(parts, 1)

    def score(self, y: Tensor, width: float | Tensor = 0.0) -> Tensor:
        """grad log p (batch, dim), differentiable."""
        variance = self.stds**2 + torch.as_tensor(width).reshape(-1, 1) ** 2
        away = self.means - y.unsqueeze(1)
        dim = self.means.shape[1]
        parts = self.weights.log() - away.square().sum(-1) / (2 * variance) - dim / 2 * torch.log(variance)
        return (torch.softmax(parts, 1) / variance).unsqueeze(-1).mul(away).sum(1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Independent points (count, dim)."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[which] + self.stds[which].unsqueeze(1) * noise


def standardized_mixture(dim: int) -> GaussianMixture:
    """Two components of zero mean and unit variance in every dimension, as the objectives on points see their data."""
    weights = torch.tensor([0.4, 0.6], dtype=torch.float64)
    first = torch.tensor([0.9, -0.6], dtype=torch.float64)[:dim]
    means = torch.stack((first, -first * 2 / 3))
    between = (weights.unsqueeze(1) * means.square()).sum(0)
    # the variance within a component is shared by all dimensions, so it can be one in the first dimension only
    std = (1 - between[0]).sqrt()
    return GaussianMixture(weights, means, torch.stack((std * 0 + std, std * 0 + std)))

"""Denoising diffusion on points: at level i of a discrete schedule the network predicts the noise.

    x = alpha_i y + sigma_i eps ,    loss |f(x, i / levels) - eps|^2 ,    level i = floor(t levels) .

The minimizer is E[eps | x], and -E[eps | x] / sigma_i is the score of the noised density.

Source: Ho et al., arXiv:2006.11239, eq. 14.
"""

import torch
from torch import Tensor

from tpsctl.training.objectives.points import PointBatch, PointObjective, PointSettings


class NoisePrediction(PointObjective):
    """Mean squared error of the predicted noise.

    Args:
        points: Data in units of its mean and spread, (count, dim), float32.
        settings: Sizes of the network and of a batch.
        alphas: alpha of every level, (level,).
        sigmas: sigma of every level, (level,).
    """

    def __init__(self, points: Tensor, settings: PointSettings, alphas: Tensor, sigmas: Tensor) -> None:
        super().__init__(points, settings, (alphas, sigmas))
        self._alphas, self._sigmas = alphas, sigmas

    def to(self, device: torch.device) -> None:
        super().to(device)
        self._alphas, self._sigmas = self._alphas.to(device), self._sigmas.to(device)

    def loss(self, batch: PointBatch) -> Tensor:
        levels = len(self._alphas)
        level = (batch.t * levels).long().clamp(max=levels - 1)
        x = self._alphas[level].unsqueeze(-1) * batch.clean + self._sigmas[level].unsqueeze(-1) * batch.noise
        return (self.network(x, level / levels) - batch.noise).square().mean()

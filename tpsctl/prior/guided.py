"""A prior with guidance: its score plus a term, so that paths of any action are those of the guided ensemble."""

import torch
from torch import Tensor

from tpsctl.prior.base import Prior
from tpsctl.prior.diffused import DiffusedPrior
from tpsctl.score.base import AutogradScore, Score
from tpsctl.score.guidance.base import GuidedScore, PotentialGuide


class GuidedPrior(Prior):
    """The scores of a prior with a term of guidance added at every diffusion time.

    Args:
        prior: The prior.
        model: Its diffused law, in whose unit of length the guide is.
        guide: The guidance.
    """

    def __init__(self, prior: Prior, model: DiffusedPrior, guide: PotentialGuide) -> None:
        self._prior, self._model, self._guide = prior, model, guide
        self.kind, self.n_beads, self.n_dims = prior.kind, prior.n_beads, prior.n_dims
        self.temperature_k, self.topology, self.masses_amu = prior.temperature_k, prior.topology, prior.masses_amu
        self.conservative, self.one_thread = prior.conservative, prior.one_thread

    def at(self, t: float) -> Score:
        def addition(x: Tensor) -> Tensor:
            with torch.enable_grad():
                y = x if x.requires_grad else x.detach().requires_grad_(True)
                total = self._added(y, t).sum()
                return torch.autograd.grad(total, y, create_graph=x.requires_grad)[0]

        return GuidedScore(self._prior.at(t), AutogradScore(addition))

    def sigma_nm(self, t: float) -> float:
        return self._prior.sigma_nm(t)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        known = self._prior.log_density(x, t)
        return None if known is None else known + self._added(x, t)

    def _added(self, x: Tensor, t: float) -> Tensor:
        return self._guide.potential(self._model.from_nm(x), self._model.schedule.width(t))

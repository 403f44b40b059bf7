"""The diffused law of a prior: its score at every noise width, as the reverse process needs it.

The law is in the network's own unit of length, in which noise is the same in every dimension; `to_nm` and `from_nm`
convert configurations. y = x_t / alpha is data plus noise of a width s, whatever the schedule, so the same process
serves diffusion, flow matching, score matching and Action Matching.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.errors import PriorError
from tpsctl.prior.base import Prior
from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.prior.gaussian import GaussianPrior
from tpsctl.prior.network import NetworkPrior
from tpsctl.score.base import AutogradScore
from tpsctl.score.likelihood import Diffusion
from tpsctl.score.schedule import NoiseSchedule

_PURE_NOISE, _LEAST_NOISE = 20.0, 0.01
"""Largest and smallest noise width of an exact Gaussian, in its standard deviations."""


@dataclass(frozen=True)
class DiffusedPrior:
    """A prior as a law of data plus noise.

    Attributes:
        law: Its scores between two noise widths, in the network's own unit of length.
        schedule: Noise schedule in that unit.
        to_nm: Configurations in that unit to nm, differentiable.
        from_nm: Configurations in nm to that unit, differentiable.
        unit_nm: Length of the unit, nm (root mean square over dimensions).
        like: A tensor with the device and the precision of the prior.
        shape: Beads and dimensions of a configuration.
    """

    law: Diffusion
    schedule: NoiseSchedule
    to_nm: Callable[[Tensor], Tensor]
    from_nm: Callable[[Tensor], Tensor]
    unit_nm: float
    like: Tensor
    shape: tuple[int, int]

    def time_of(self, width: float) -> float:
        """Diffusion time of a noise width."""
        return float(self.schedule.time_of(torch.tensor(width, dtype=torch.float64)))


def diffused(prior: Prior, t: float) -> DiffusedPrior:
    """The diffused law of a prior from the noise of diffusion time t upwards.

    Raises:
        PriorError: The prior has no score at t, or is no model of data plus noise.
    """
    prior.at(t)  # refuses a time without a score
    if isinstance(prior, GaussianPrior):
        return _of_gaussian(prior, t)
    if not isinstance(prior, NetworkPrior):
        raise PriorError(
            f'prior "{prior.kind}" cannot be sampled by a reverse process: it has no noise, or its noise is its own. '
            "Use a trained checkpoint, or a Gaussian."
        )
    output, units = prior.output, prior.units
    law = Diffusion(
        lambda width: WidthScore(output, width),
        prior.schedule.width(t),
        output.largest_width,
        spread=output.data_spread,
        centered=prior.field.centered,
    )
    law.score_at(law.largest_width)(torch.zeros(1, prior.n_beads, prior.n_dims).to(prior.field.like))  # or it raises
    shape = (prior.n_beads, prior.n_dims)
    return DiffusedPrior(
        law, prior.schedule, units.from_network, units.to_network, units.mean_scale_nm, prior.field.like, shape
    )


def _of_gaussian(prior: GaussianPrior, t: float) -> DiffusedPrior:
    """An exact Gaussian around its mean, in nm."""
    mean, std = prior.mean_nm, prior.std_nm
    law = Diffusion(
        lambda width: AutogradScore(lambda y: -y / (std**2 + width**2)),
        max(prior.sigma_nm(t), _LEAST_NOISE * std),
        _PURE_NOISE * std,
        spread=std,
    )
    like = torch.zeros((), dtype=torch.float64)
    return DiffusedPrior(
        law, prior.schedule, lambda y: y + mean.like(y), lambda x: x - mean.like(x), 1.0, like, (1, prior.n_dims)
    )


class WidthScore(AutogradScore):
    """The score of y at a relative noise width, in the network's own unit of length."""

    def __init__(self, output: OutputConversion, width: float) -> None:
        super().__init__(lambda y: output.relative_score(y, width), conservative=output.field.conservative)
        self._output, self._width = output, width

    def jacobian(self, y: Tensor) -> Tensor:
        found = self._output.relative_jacobian(y, self._width)
        return super().jacobian(y) if found is None else found

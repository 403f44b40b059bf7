"""Flow matching with a velocity that is the gradient of an energy, as a weight of the errors of the score.

On the conditional path x_t = alpha x_0 + sigma eps the velocity to learn is u = alpha' x_0 + sigma' eps, on the
straight path of optimal transport scale eps - x_0. With an energy U of y = x_t / alpha, score(y) = -grad U, the learned
velocity is

    u = (alpha' / alpha) x_t - (g^2 / 2 alpha) score(y) ,

the gradient of a scalar in x_t. A target of the score stands for a target of the velocity in the same way, so

    error of u = (g^2 / 2 alpha) error of the score ,     on the straight path  w (scale + w) error of the score

with the noise width w = sigma / alpha. Regression of the velocity is regression of the score with this factor squared.

Source: Lipman et al., arXiv:2210.02747, theorem 2 and eq. 23 (with sigma_min = 0).
"""

from typing import Any

from torch import Tensor

from tpsctl.score.schedule import Flow
from tpsctl.training.objectives.error_weights import ErrorWeights


class VelocityWeights(ErrorWeights):
    """Squared errors of the score at which squared errors of the velocity, in units of the path's scale, are one.

    Args:
        schedule: The straight path, nm.
    """

    def __init__(self, schedule: Flow) -> None:
        self._scale = schedule.scale

    @property
    def facts(self) -> list[Any]:
        return ["velocity", self._scale]

    def unit(self, sigma: Tensor) -> Tensor:
        return (self._scale / (sigma * (self._scale + sigma))).square()

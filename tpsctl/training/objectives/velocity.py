"""Flow matching on points: the network predicts the velocity along straight lines from noise to data.

    x = s y + (1 - s) eps ,    loss |f(x, s) - (y - eps)|^2 ,    s = 1 - t .

The minimizer is the velocity field E[y - eps | x], whose flow carries noise into data.

Source: Lipman et al., arXiv:2210.02747, eq. 23 with sigma_min = 0.
"""

from torch import Tensor

from tpsctl.training.objectives.points import PointBatch, PointObjective


class VelocityRegression(PointObjective):
    """Mean squared error of the predicted velocity; arguments as of `PointObjective`."""

    def loss(self, batch: PointBatch) -> Tensor:
        s = (1 - batch.t).unsqueeze(-1)
        x = s * batch.clean + (1 - s) * batch.noise
        return (self.network(x, 1 - batch.t) - (batch.clean - batch.noise)).square().mean()

"""The score of a Schroedinger bridge, whose field gives the score itself at time t.

Its law at time t is no law of data plus Gaussian noise, so it has no density by the probability-flow ODE of such noise.
The schedule of Brownian motion says how far points have moved at a small t.
"""

from torch import Tensor

from tpsctl.prior.conversions.base import OutputConversion
from tpsctl.prior.fields.bridge_perceptron import BridgeField


class BridgeOutput(OutputConversion):
    """The two drifts of a bridge, as a score."""

    field: BridgeField

    def score(self, x: Tensor, t: float) -> Tensor:
        return self.field(self.units.to_network(x), t) / self.units.scale_like(x)

    def log_density(self, x: Tensor, t: float) -> Tensor | None:
        return None

    def noise_in_noise(self, z: Tensor) -> Tensor:
        """-score at t = 1, where the law of the bridge is a standard normal one."""
        return -self.field(z, 1.0)

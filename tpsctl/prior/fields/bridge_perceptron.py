"""The two drifts of a Schroedinger bridge as a field; its output is the score and its clock is t."""

from torch import Tensor

from tpsctl.networks.bridge_perceptron import BridgePerceptron
from tpsctl.prior.field import Field


class BridgeField(Field):
    """(f + b) / c^2 of the drifts f and b and the noise c, for one bead; it is not the gradient of a scalar.

    Args:
        network: The drifts.
    """

    network: BridgePerceptron
    n_beads = 1
    conservative = False
    centered = False

    def __init__(self, network: BridgePerceptron) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_dims = network.sizes.dims

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        x, t = y.squeeze(1), y.new_full((len(y),), clock)
        return ((self.network.to_noise(x, t) + self.network.to_data(x, t)) / self.network.sizes.noise**2).unsqueeze(1)

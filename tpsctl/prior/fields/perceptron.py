"""A perceptron for one point in a model potential, as a field."""

from torch import Tensor

from tpsctl.networks.perceptron import Perceptron
from tpsctl.prior.field import Field


class PerceptronField(Field):
    """The output of a perceptron for one bead; it is not the gradient of a scalar.

    Args:
        network: The perceptron.
    """

    n_beads = 1
    conservative = False
    centered = False

    def __init__(self, network: Perceptron) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_dims = network.sizes.dims

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        return self.network(y.squeeze(1), y.new_full((len(y),), clock)).unsqueeze(1)

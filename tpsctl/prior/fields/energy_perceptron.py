"""A perceptron for one point in a model potential that is the gradient of an energy, as a field."""

from torch import Tensor

from tpsctl.networks.energy_perceptron import EnergyPerceptron
from tpsctl.prior.field import Field


class EnergyPerceptronField(Field):
    """-dE/dy of a perceptron with a scalar output, for one bead.

    Args:
        network: The perceptron.
    """

    network: EnergyPerceptron
    n_beads = 1
    conservative = True
    centered = False

    def __init__(self, network: EnergyPerceptron) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_dims = network.sizes.dims

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        return self.network(y.squeeze(1), y.new_full((len(y),), clock)).unsqueeze(1)

    def energy(self, y: Tensor, clock: float) -> Tensor:
        return self.network.energy(y.squeeze(1), y.new_full((len(y),), clock))

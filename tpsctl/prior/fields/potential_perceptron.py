"""The gradient of a perceptron that is a scalar potential, for one bead, as a field."""

import torch
from torch import Tensor

from tpsctl.networks.potential_perceptron import PotentialPerceptron
from tpsctl.prior.field import Field


class PotentialPerceptronField(Field):
    """grad s of a potential s(y, time), for one bead; its clock is the time from noise (0) to data (1).

    Args:
        network: The potential.
    """

    network: PotentialPerceptron
    n_beads = 1
    conservative = True
    centered = False

    def __init__(self, network: PotentialPerceptron) -> None:
        self.network = network.eval().requires_grad_(False)
        self.n_dims = network.sizes.dims

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        with torch.enable_grad():
            create_graph = y.requires_grad
            y = y if create_graph else y.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.potential(y, clock).sum(), y, create_graph=create_graph)
        return gradient

    def energy(self, y: Tensor, clock: float) -> Tensor:
        return -self.potential(y, clock)

    def potential(self, y: Tensor, clock: float) -> Tensor:
        """s (batch,) of configurations y (batch, 1, dim), in the network's own unit of length squared."""
        return self.network(y.squeeze(1), y.new_full((len(y),), clock))

"""A multilayer perceptron whose output is minus the gradient of a scalar, so that it is conservative by construction.

    E(x, t) scalar ,      output = -dE/dx

The layers are those of `Perceptron`, but for the last one, which has a single output.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.perceptron import Perceptron, PerceptronSizes, PointLayers


class EnergyPerceptron(PointLayers):
    """Maps points and times to minus the gradient of an energy.

    Args:
        sizes: Shapes of the network, as those of a `Perceptron`.
    """

    def __init__(self, sizes: PerceptronSizes) -> None:
        super().__init__(sizes, 1)

    def energy(self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The scalar E."""
        return self.values(x, t).squeeze(-1)

    def forward(self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        trained = any(parameter.requires_grad for parameter in self.parameters())
        create_graph = torch.is_grad_enabled() and (x.requires_grad or trained)
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.energy(x, t).sum(), x, create_graph=create_graph)
        return -gradient


PointNetwork = Perceptron | EnergyPerceptron
"""The networks of a point in a model potential."""

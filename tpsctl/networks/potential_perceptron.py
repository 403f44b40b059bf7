"""A perceptron that is a scalar potential s(y, t), for Action Matching.

The layers are those of `Perceptron`, with one output more than a point has coordinates,

    s(y, t) = y . f(y, t) + g(y, t) ,

because grad s then grows with y without large weights, and s can take any value at y = 0. The last layer begins with
zeros: s = 0 everywhere, so that no mass grows in a model that is not trained yet.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.networks.perceptron import PerceptronSizes, PointLayers


class PotentialPerceptron(PointLayers):
    """Maps points and times to scalars.

    Args:
        sizes: Shapes of the network; `dims` is the number of coordinates of a point.
    """

    def __init__(self, sizes: PerceptronSizes) -> None:
        super().__init__(sizes, sizes.dims + 1)
        with torch.no_grad():
            for parameter in self.layers[-1].parameters():
                parameter.zero_()

    def forward(self, y: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        z = self.values(y, t)
        return (y * z[:, :-1]).sum(-1) + z[:, -1]

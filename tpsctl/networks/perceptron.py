"""A multilayer perceptron of position and time, as published for the Mueller-Brown surface.

It consists of linear layers with a smooth activation between them. Its input is the position followed by the time.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.errors import PriorError

ACTIVATIONS = {"gelu": nn.GELU, "swish": nn.SiLU}
"""The activations that a perceptron can have, by their names in checkpoints."""


@dataclass(frozen=True)
class PerceptronSizes:
    """Shapes of the network.

    Attributes:
        dims: Coordinates of a point.
        hidden: Width of the hidden layers.
        layers: Number of linear layers.
        activation: "gelu" (exact) or "swish".
    """

    dims: int
    hidden: int
    layers: int
    activation: str

    def to_dict(self) -> dict[str, int | str]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


class PointLayers(nn.Module):
    """Linear layers of points and times, with an activation between them.

    Args:
        sizes: Shapes of the network.
        outputs: Number of values that the last layer gives.

    Raises:
        PriorError: The activation is unknown.
    """

    def __init__(self, sizes: PerceptronSizes, outputs: int) -> None:
        super().__init__()
        if sizes.activation not in ACTIVATIONS:
            raise PriorError(f"activation: got {sizes.activation!r}, expected one of {', '.join(ACTIVATIONS)}.")
        self.sizes = sizes
        widths = [sizes.dims + 1, *[sizes.hidden] * (sizes.layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.activation = ACTIVATIONS[sizes.activation]()

    def values(self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch output"]:
        """What the last layer gives."""
        y = torch.cat([x, t.to(x).unsqueeze(-1)], dim=-1)
        for layer in self.layers[:-1]:
            y = self.activation(layer(y))
        return self.layers[-1](y)


class Perceptron(PointLayers):
    """Maps points and times to vectors of the points' dimension.

    Args:
        sizes: Shapes of the network.
    """

    def __init__(self, sizes: PerceptronSizes) -> None:
        super().__init__(sizes, sizes.dims)

    def forward(self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        return self.values(x, t)

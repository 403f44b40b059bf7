"""A plain multilayer perceptron of position and time: the published networks of the Mueller-Brown surface.

Linear layers with one smooth activation between them; the input is the position with the time appended.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.errors import PriorError

_ACTIVATIONS = {"gelu": nn.GELU, "swish": nn.SiLU}


@dataclass(frozen=True)
class PerceptronSizes:
    """Shapes of the network.

    Attributes:
        dims: Coordinates of a point.
        hidden: Width of the layers between.
        layers: Number of linear layers.
        activation: "gelu" (exact) or "swish".
    """

    dims: int
    hidden: int
    layers: int
    activation: str

    def to_dict(self) -> dict[str, int | str]:
        """Plain values, for a checkpoint's metadata."""
        return asdict(self)


class Perceptron(nn.Module):
    """Output at points and times.

    Args:
        sizes: Shapes.

    Raises:
        PriorError: Unknown activation.
    """

    def __init__(self, sizes: PerceptronSizes) -> None:
        super().__init__()
        if sizes.activation not in _ACTIVATIONS:
            raise PriorError(f"activation: got {sizes.activation!r}, expected one of {', '.join(_ACTIVATIONS)}.")
        self.sizes = sizes
        widths = [sizes.dims + 1, *[sizes.hidden] * (sizes.layers - 1), sizes.dims]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.activation = _ACTIVATIONS[sizes.activation]()

    def forward(self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        y = torch.cat([x, t.to(x).unsqueeze(-1)], dim=-1)
        for layer in self.layers[:-1]:
            y = self.activation(layer(y))
        return self.layers[-1](y)

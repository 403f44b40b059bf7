"""The two drifts of a Schroedinger bridge between data (t = 0) and noise (t = 1), for a point in a model potential.

    towards noise    dx = f(x, t) dt + c dW                towards data    dx = b(x, t) dt' + c dW ,   t' = 1 - t

Each is a `Perceptron`. Before training f is zero: the process towards noise is then Brownian motion.
"""

from dataclasses import asdict, dataclass

from torch import nn

from tpsctl.networks.perceptron import Perceptron, PerceptronSizes


@dataclass(frozen=True)
class BridgeSizes:
    """Shapes of both perceptrons, and the noise of the bridge.

    Attributes:
        dims: Coordinates of a point.
        hidden: Width of the hidden layers.
        layers: Number of linear layers.
        activation: "gelu" (exact) or "swish".
        noise: c, in the network's unit of length per square root of the unit of t.
    """

    dims: int
    hidden: int
    layers: int
    activation: str
    noise: float

    def to_dict(self) -> dict[str, int | str | float]:
        """The sizes as plain values, for a checkpoint's metadata."""
        return asdict(self)


class BridgePerceptron(nn.Module):
    """Holds the two drifts; it is used through `to_noise` and `to_data`.

    Args:
        sizes: Shapes of the network.

    Raises:
        PriorError: The activation is unknown.
    """

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        self.sizes = sizes
        each = PerceptronSizes(sizes.dims, sizes.hidden, sizes.layers, sizes.activation)
        self.to_noise, self.to_data = Perceptron(each), Perceptron(each)
        nn.init.zeros_(self.to_noise.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.to_noise.layers[-1].bias)  # type: ignore[arg-type]

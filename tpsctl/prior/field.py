"""A network as a function of positions: the only interface between priors and networks.

A field uses the network's own unit of length and its own clock (time or noise width). It does not know what its output
means (the gradient of an energy, noise or a velocity); `tpsctl.prior.conversions` turns the output into a score.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center


class Field(ABC):
    """A network as a function of positions, in its own unit of length, and of its own clock.

    Attributes:
        network: The module that holds the parameters.
        n_beads: Beads per configuration.
        n_dims: Coordinates per bead.
        conservative: Whether the output is the gradient of a scalar.
        centered: Whether the network sees positions without their mean over beads.
        one_thread: Whether its operations are so short that splitting them among CPU threads costs more than it saves.
        smallest_width: Smallest noise width sigma/alpha of the training, in the network's own unit of length; 0 if
            unknown.
    """

    network: nn.Module
    n_beads: int
    n_dims: int
    conservative: bool
    centered: bool
    one_thread: bool = False
    smallest_width: float = 0.0

    @abstractmethod
    def __call__(self, y: Float[Tensor, "batch bead dim"], clock: float) -> Float[Tensor, "batch bead dim"]:
        """Output of the network, differentiable if y is."""

    def energy(self, y: Float[Tensor, "batch bead dim"], clock: float) -> Float[Tensor, " batch"] | None:
        """The scalar E with output = -dE/dy; None if the network has none."""
        return None

    def jacobian(self, y: Float[Tensor, "batch bead dim"], clock: float) -> Float[Tensor, "batch n n"] | None:
        """Dense Jacobian of the output with respect to y, n = bead x dim.

        None if there is no formula for it that is faster than one product with each unit vector.
        """
        return None

    def gauge(self, y: Tensor) -> Tensor:
        """y without its mean over beads if the network ignores the mean (`centered`); y itself otherwise."""
        return center(y) if self.centered else y

    @property
    def like(self) -> Tensor:
        """A tensor with the device and the precision of the network, for `Tensor.to`."""
        return next(self.network.parameters())

    @property
    def n_parameters(self) -> int:
        """Number of the network's parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        """Move the network to this device and convert it to this precision."""
        self.network.to(device=device, dtype=dtype)

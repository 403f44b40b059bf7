"""A network as a function of positions: the one interface between priors and every network.

A field lives in the network's own length and clock. What its output means (a slope of an energy, noise, a velocity) is
not its business; `tpsctl.prior.conversions` turns the output into a score.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tpsctl.molecule.geometry import center


class Field(ABC):
    """A network as a function of positions in its own length and of its own clock.

    Attributes:
        network: The module that holds the parameters.
        n_beads: Beads per configuration.
        n_dims: Coordinates per bead.
        conservative: Whether the output is a gradient.
        centered: Whether the center of mass is taken out.
        one_thread: Whether its operations are so short that splitting them among CPU threads costs more than it saves.
        smallest_width: Smallest relative noise width the network was trained on, in its own length; 0 if not known.
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
        """E with output = -dE/dy, where the network has one."""
        return None

    def jacobian(self, y: Float[Tensor, "batch bead dim"], clock: float) -> Float[Tensor, "batch n n"] | None:
        """Dense derivative of the output by y, where there is a formula that is faster than products."""
        return None

    def gauge(self, y: Tensor) -> Tensor:
        """y without its center of mass, if that means nothing to the network."""
        return center(y) if self.centered else y

    @property
    def like(self) -> Tensor:
        """A tensor on the network's device in its precision."""
        return next(self.network.parameters())

    def to(self, *, device: torch.device | str, dtype: torch.dtype) -> None:
        """Compute on this device in this precision from now on."""
        self.network.to(device=device, dtype=dtype)

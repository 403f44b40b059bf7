"""The negative gradient of an energy U(y; sigma) as a field; its clock is the width of the noise, nm."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.prior.field import Field


class EnergyField(Field):
    """-dU/dy of an energy U in kT, for positions and noise widths in the network's unit of length, nm.

    Attributes:
        corrections: Number of Langevin steps at every width when samples are drawn from noise; without them basins keep
            the weights that they got at large widths.
    """

    corrections: int = 24
    n_dims = 3
    conservative = True
    centered = True
    one_thread = True

    def __call__(self, y: Tensor, clock: float) -> Tensor:
        with torch.enable_grad():
            create_graph = y.requires_grad
            y = y if create_graph else y.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.energy(y, clock).sum(), y, create_graph=create_graph)
        return -gradient

    @abstractmethod
    def energy(self, y: Float[Tensor, "batch bead dim"], clock: float) -> Float[Tensor, " batch"]:
        """The energy in kT at one noise width."""

    @property
    @abstractmethod
    def largest_width(self) -> float:
        """Largest noise width of the training, nm; noise of this width hides the molecule completely."""

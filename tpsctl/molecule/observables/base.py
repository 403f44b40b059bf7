"""An observable: a differentiable function of configurations in nm, with a unit and a way to be compared.

An experiment reports the average of some f over the ensemble, or a number that is a function of that average, such as
the distance <r^-6>^(-1/6) of a nuclear Overhauser effect. `shown` turns averages of f into what is reported, and
`averaged` the other way round, so that targets can be given as they are published.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor


class Observable(ABC):
    """A quantity of a configuration.

    Attributes:
        name: What it is called in tables.
        unit: Unit of the reported number; "" for a pure number.
        period: Period of the reported number, for angles; None if it has none.
    """

    name: str
    unit: str = ""
    period: float | None = None

    @abstractmethod
    def __call__(self, x: Float[Tensor, "batch bead dim"]) -> Float[Tensor, " batch"]:
        """f of configurations in nm, the quantity whose average is compared; differentiable."""

    def shown(self, average: float) -> float:
        """The reported number that belongs to an average of f."""
        return average

    def averaged(self, reported: float) -> float:
        """The average of f that belongs to a reported number."""
        return reported

    def shown_error(self, average: float, error: float) -> float:
        """Standard error of the reported number for an average of f with this error, to first order."""
        return error * abs(self._slope(average))

    def averaged_error(self, reported: float, error: float) -> float:
        """Error of the average of f for a reported number with this error, to first order."""
        return error / abs(self._slope(self.averaged(reported)))

    def _slope(self, average: float) -> float:
        """Derivative of `shown` at an average."""
        return 1.0

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


class PointCoordinate(Observable):
    """One coordinate of a point of a model potential, nm.

    Args:
        name: Its name.
        dimension: Which coordinate, from 0.
    """

    unit = "nm"

    def __init__(self, name: str, dimension: int) -> None:
        self.name, self._dimension = name, dimension

    def __call__(self, x: Tensor) -> Tensor:
        return x[:, 0, self._dimension]


def stacked(observables: "list[Observable] | tuple[Observable, ...]", x: Tensor) -> Float[Tensor, "batch observable"]:
    """Several observables of the same configurations."""
    return torch.stack([observable(x) for observable in observables], 1)

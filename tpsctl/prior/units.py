"""The length unit and the origin of a network: x = scale y + offset, with x in nm and y in the network's own length."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.score.constant import Constant


class NetworkUnits:
    """Lengths of a network in nm.

    Args:
        scale_nm: Length of one network unit, nm; one value, or one per dimension.
        offset_nm: Position of the network's origin, nm; one value, or one per dimension.
    """

    def __init__(self, scale_nm: Sequence[float] = (1.0,), offset_nm: Sequence[float] = (0.0,)) -> None:
        self.scale = torch.tensor(scale_nm, dtype=torch.float64)
        # The origin is rounded to float32, as earlier versions did, so that results do not change.
        self.offset = torch.tensor(offset_nm, dtype=torch.float32).double()
        self._scale, self._offset = Constant(self.scale), Constant(self.offset)

    @property
    def mean_scale_nm(self) -> float:
        """Length of one network unit, nm: the root mean square over dimensions."""
        return float(self.scale.square().mean().sqrt())

    def scale_like(self, x: Tensor) -> Tensor:
        """Length of one network unit, nm, in the precision and on the device of x."""
        return self._scale.like(x)

    def to_network(self, x: Tensor) -> Tensor:
        """Convert positions x (nm) to the network's own unit of length."""
        return (x - self._offset.like(x)) / self._scale.like(x)

    def from_network(self, y: Tensor) -> Tensor:
        """Convert positions y in the network's own unit of length to nm."""
        return y * self._scale.like(y) + self._offset.like(y)

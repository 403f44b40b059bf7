"""Constants that are used with tensors of several devices and precisions, copied to each once, not at every call.

A copy from the host to a GPU takes as long as several operations on a batch of images, and a minimization would make
thousands of such copies.
"""

import torch
from torch import Tensor


class Constant:
    """A tensor that never changes, with its copies on other devices and in other precisions.

    Args:
        value: The tensor.

    Attributes:
        value: The tensor as it was given.
    """

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """The constant in the precision and on the device of x."""
        return self._copy(x.dtype, x.device)

    def on(self, device: torch.device) -> Tensor:
        """The constant in its own precision on a device."""
        return self._copy(self.value.dtype, device)

    def _copy(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        found = self._copies.get((dtype, device))
        if found is None:
            found = self._copies[dtype, device] = self.value.to(dtype=dtype, device=device)
        return found

"""Matrix products in bfloat16 while a network is trained.

bfloat16 has the range of float32 and 8 bits of precision. GPUs, and CPUs with matrix units, multiply it several times
faster. Only the factors of a module's matrix products are rounded: parameters, positions, features and sums over a
molecule stay in float32, so that distances keep their digits. A module takes part by deriving from `Bfloat16Module`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Bfloat16Module(nn.Module):
    """A module that can multiply matrices in bfloat16.

    Attributes:
        in_bfloat16: Whether it does so now.
    """

    in_bfloat16: bool = False

    def products(self, like: Tensor) -> torch.autocast:
        """The context in which the module multiplies, on the device of a tensor."""
        return torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=self.in_bfloat16)


@contextmanager
def bfloat16_products(network: nn.Module, *, enabled: bool) -> Iterator[None]:
    """While this lasts, all modules of a network that can do so multiply matrices in bfloat16, if `enabled`."""
    modules = [module for module in network.modules() if isinstance(module, Bfloat16Module)] if enabled else []
    for module in modules:
        module.in_bfloat16 = True
    try:
        yield
    finally:
        for module in modules:
            module.in_bfloat16 = False

"""Processes with a learned drift between two laws, as a Schroedinger bridge has them: dx = drift dt + noise dW."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def carry(
    drift: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    times: Sequence[float],
    noise: float,
    generator: torch.Generator,
    *,
    shared_noise: bool = False,
) -> Tensor:
    """Carry points through a process by Euler-Maruyama steps.

    Args:
        drift: The drift (batch, dim) at points (batch, dim) and times (batch,), in the direction of the given times.
        x: Points at the first time, (batch, dim).
        times: Times, rising or falling.
        noise: Strength of the noise, in the unit of x per square root of the unit of time.
        generator: Source of the noise, on the CPU.
        shared_noise: Whether all points get the same noise.
    """
    for here, there in zip(times[:-1], times[1:], strict=True):
        step = abs(there - here)
        z = torch.randn((x[:1] if shared_noise else x).shape, generator=generator, dtype=torch.float64).to(x)
        x = x + step * drift(x, x.new_full((len(x),), here)) + noise * step**0.5 * z
    return x

"""Samples of a known density at a raised temperature, with the weights that lead back.

Barriers are where rates are decided, and equilibrium samples are never there. So samples are drawn from
p ~ exp(-u / tau) with the reduced energy u = U / kT and the factor tau of the temperature, and they stand for
equilibrium with the weights exp(-(1 - 1/tau) u). Walkers take Metropolis-adjusted Langevin steps, which leave p exactly
unchanged; the step is adapted to an acceptance of `ACCEPTANCE` while they settle.

Source: Roberts and Tweedie, Bernoulli 2 (1996) 341 (Metropolis-adjusted Langevin algorithm).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

ACCEPTANCE = 0.6
EnergyFn = Callable[[Float[Tensor, "walker variable"]], Float[Tensor, " walker"]]
"""Reduced energies u of points, differentiable."""


def tempered_samples(
    energy: EnergyFn,
    starts: Float[Tensor, "walker variable"],
    *,
    tempering: float,
    settle: int,
    samples: int,
    every: int,
    step: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "sample variable"], Float[Tensor, " sample"], Int[Tensor, " sample"]]:
    """Points, their weights in equilibrium up to a factor, and the walker of each.

    Args:
        energy: Reduced energy.
        starts: Where the walkers begin.
        tempering: tau, at least 1.
        settle: Steps before the first sample, during which the step size is adapted.
        samples: Number of samples of every walker.
        every: Steps between two samples.
        step: First guess of the step size, in the unit of the variables.
        generator: Source of randomness.
    """
    x, (u, slope) = starts, _with_slope(energy, starts)
    found, energies = [], []
    for number in range(settle + samples * every):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        size = step * step / 2
        there = x - size * slope / tempering + step * noise
        new_u, new_slope = _with_slope(energy, there)
        back = (x - there + size * new_slope / tempering) / step
        ratio = (u - new_u) / tempering + (noise.square().sum(1) - back.square().sum(1)) / 2
        taken = torch.rand(len(x), generator=generator, dtype=x.dtype).log() < ratio
        mask = taken.unsqueeze(1)
        x, slope = torch.where(mask, there, x), torch.where(mask, new_slope, slope)
        u = torch.where(taken, new_u, u)
        if number < settle:
            step *= 1 + 0.05 * (float(taken.double().mean()) - ACCEPTANCE)
        elif (number - settle) % every == 0:
            found.append(x)
            energies.append(u)
    log_weights = -(1 - 1 / tempering) * torch.cat(energies)
    return torch.cat(found), (log_weights - log_weights.max()).exp(), torch.arange(len(x)).repeat(samples)


def _with_slope(energy: EnergyFn, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        y = x.detach().requires_grad_(True)
        u = energy(y)
        (slope,) = torch.autograd.grad(u.sum(), y)
    return u.detach(), slope

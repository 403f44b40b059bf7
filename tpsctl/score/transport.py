"""Integration of points along the gradient of a potential: with or without noise, with or without growing weights.

    plain        dx = grad s dt                      classical fourth-order Runge-Kutta steps
    entropic     dx = grad s dt + sigma dW           Euler-Maruyama steps
    unbalanced   either, with d log w = g s dt       steps of x and log w together

g is the growth: 1 over the square of the length over which moving costs as much as growing. Weights of the unbalanced
dynamics can become very unequal, so their effective number has to be looked at.

Source: Neklyudov et al., arXiv:2210.06662, sec. 2 and 3; Kish, Survey Sampling (1965), for the effective number.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.score.hamilton_jacobi import Potential, potential_gradient


def carry(
    potential: Potential, x: Float[Tensor, "batch *shape"], times: Sequence[float], *, growth: float = 1.0
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, " batch"]]:
    """Carry points along grad s from the first to the last time, and integrate the growth along the way.

    Args:
        potential: s.
        x: Points at the first time.
        times: Times of the steps, rising or falling.
        growth: g, per squared length of x.

    Returns:
        The points at the last time, and the logarithms of their weights: the integrals of g s.
    """
    log_weights = x.new_zeros(len(x))
    for here, there in zip(times[:-1], times[1:], strict=True):
        h, middle = there - here, (here + there) / 2
        s1, k1 = _at(potential, x, here)
        s2, k2 = _at(potential, x + h / 2 * k1, middle)
        s3, k3 = _at(potential, x + h / 2 * k2, middle)
        s4, k4 = _at(potential, x + h * k3, there)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_weights = log_weights + h / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
    return x, growth * log_weights


def diffuse(
    potential: Potential,
    x: Float[Tensor, "batch *shape"],
    times: Sequence[float],
    noise: float,
    generator: torch.Generator,
    *,
    growth: float = 1.0,
    shared: bool = False,
) -> tuple[Float[Tensor, "batch *shape"], Float[Tensor, " batch"]]:
    """Carry points along dx = grad s dt + noise dW, and integrate the growth along the way.

    Args:
        potential: s.
        x: Points at the first time.
        times: Times of the steps, rising.
        noise: Strength sigma of the noise.
        generator: Random number generator (CPU).
        growth: g, per squared length of x.
        shared: Whether all points get the same random numbers.

    Returns:
        As `carry`; the values of s are those at the beginning of each step.
    """
    log_weights = x.new_zeros(len(x))
    for here, there in zip(times[:-1], times[1:], strict=True):
        h = there - here
        shape = x.shape[1:] if shared else x.shape
        kick = torch.randn(shape, generator=generator, dtype=torch.float64).to(x)
        value, velocity = _at(potential, x, here)
        x, log_weights = x + h * velocity + noise * h**0.5 * kick, log_weights + h * value
    return x, growth * log_weights


def even_times(first: float, last: float, steps: int) -> list[float]:
    """`steps` + 1 times from the first to the last at equal distances."""
    return [first + (last - first) * n / steps for n in range(steps + 1)]


def effective_size(log_weights: Float[Tensor, " batch"]) -> float:
    """Effective number of weighted points over their number, (sum w)^2 / (n sum w^2): 1 for equal weights."""
    w = torch.softmax(log_weights.double(), 0)
    return float(1 / (len(w) * w.square().sum()))


def resample(
    x: Float[Tensor, "batch *shape"], log_weights: Float[Tensor, " batch"], generator: torch.Generator
) -> Float[Tensor, "batch *shape"]:
    """Points of equal weight: as many as before, each repeated about as often as its weight says (systematic)."""
    w = torch.softmax(log_weights.double(), 0).cpu()
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    places = (torch.arange(len(w), dtype=torch.float64) + start) / len(w)
    chosen = torch.searchsorted(w.cumsum(0), places).clamp(max=len(w) - 1)
    return x[chosen.to(x.device)]


def _at(potential: Potential, x: Tensor, time: float) -> tuple[Tensor, Tensor]:
    return potential_gradient(potential, x, x.new_full((len(x),), time))

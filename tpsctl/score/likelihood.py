"""Normalized densities of a generative model from its score at every noise width: the action principle, evaluated.

In y = x_t / alpha with noise of relative width s = sigma / alpha every schedule is the process dy = dW in the time
tau = s^2, and the density p(y, tau) of noised data obeys dp/dtau = laplacian(p) / 2. Its reverse process with the
drift v, dy = v dtau' + dW, costs the action

    E int |v|^2 / 2 dtau' - E log p(y, tau_0) ,

whose least value, reached by v = grad log p, is -log p(y, tau_1). This gives two ways to the density p of the smallest
width s_0 at a structure y; pi is the Gaussian law of the largest width s_1.

    bound    -log p(y) <= E[-log pi(y_1)] + int E[ |score|^2 / 2 + div score ] dtau ,  y_s = y + (s^2 - s_0^2)^(1/2) eps
    ODE      -log p(y)  =   -log pi(y_1)  + int s^2 div score dlog(s) ,                 dy = -s^2 score dlog(s)

The bound holds for the density that the stochastic reverse process draws from, and is an equality where the score is
that of a diffused density. The ODE value is the density of the deterministic process. E[-log pi(y_1)] is the entropy of
y_1 plus KL(y_1 || pi), the mismatch of the prior law, which vanishes as s_1 grows.

Densities of molecules are those of positions without their mean, (bead - 1) x dim coordinates.

Source: arXiv:2310.04490; Song et al., arXiv:2101.09258, theorem 3 (bound) and arXiv:2011.13456, eq. 39 (ODE).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import center
from tpsctl.score.base import Score
from tpsctl.score.hamilton_jacobi import hjb_residual

ScoreAtWidth = Callable[[float], Score]
"""Relative noise width s to the score of y = x_t / alpha."""


@dataclass(frozen=True)
class Diffusion:
    """The diffused law of a model between two noise widths, for data whose mean is zero.

    Attributes:
        score_at: The score of y at a noise width, in the inverse of the length unit.
        smallest_width: s_0, the noise width whose density is asked for, in the length unit.
        largest_width: s_1, where pi takes over.
        spread: Standard deviation of the data in a coordinate, which pi includes: pi = N(0, s_1^2 + spread^2). 0 if
            unknown.
        centered: Whether y has no mean over beads.
    """

    score_at: ScoreAtWidth
    smallest_width: float
    largest_width: float
    spread: float = 0.0
    centered: bool = False

    def coordinates(self, y: Tensor) -> int:
        """Number of coordinates of which the density is one."""
        beads, dims = y.shape[1:]
        return (beads - 1 if self.centered else beads) * dims

    def cross_entropy(self, y: Tensor, variance: float) -> Float[Tensor, " batch"]:
        """-E log pi(y + z) for z with this variance in every coordinate, nats."""
        of_pi, n = self.largest_width**2 + self.spread**2, self.coordinates(y)
        return n / 2 * math.log(2 * math.pi * of_pi) + (y.square().sum((1, 2)) + n * variance) / (2 * of_pi)


@dataclass(frozen=True)
class NllBound:
    """The bound of the negative log-likelihood, nats, for a batch.

    Attributes:
        nll: The bound, (batch,).
        standard_error: Its standard error over the noise that was drawn, (batch,).
        prior_mismatch: KL(y_1 || pi), the part of it that a larger s_1 would remove, (batch,).
    """

    nll: Float[Tensor, " batch"]
    standard_error: Float[Tensor, " batch"]
    prior_mismatch: Float[Tensor, " batch"]


@dataclass(frozen=True)
class OdeNll:
    """The negative log-likelihood from the probability-flow ODE, nats, for a batch.

    Attributes:
        nll: Its value, (batch,).
        end: y_1, where the ODE ends at the largest width, in the shape of y.
        prior_mismatch: s_1^2 |score - grad log pi|^2 / 2 at y_1, (batch,). Its mean over the model's own samples bounds
            KL(p(y_1) || pi), by which the mean of `nll` may be wrong (Gross's inequality for a Gaussian pi).
    """

    nll: Float[Tensor, " batch"]
    end: Tensor
    prior_mismatch: Float[Tensor, " batch"]


def nll_ode(law: Diffusion, y: Float[Tensor, "batch bead dim"], *, steps: int = 200) -> OdeNll:
    """-log p(y) at the smallest width by the probability-flow ODE, with the exact divergence.

    Args:
        law: The model.
        y: Structures, in the length unit; the density is one of this unit.
        steps: Number of classical fourth-order Runge-Kutta steps of equal length in log(s); four scores and divergences
            each.
    """
    y = center(y) if law.centered else y
    log_width, gained = math.log(law.smallest_width), y.new_zeros(len(y))
    h = (math.log(law.largest_width) - log_width) / steps

    def rates(y: Tensor, log_width: float) -> tuple[Tensor, Tensor]:
        """dy/dlog(s) and s^2 div score."""
        width = math.exp(log_width)
        score = law.score_at(width)
        return -(width**2) * score(y), width**2 * divergence(score, y)

    for n in range(steps):
        here = log_width + n * h
        k1, d1 = rates(y, here)
        k2, d2 = rates(y + h / 2 * k1, here + h / 2)
        k3, d3 = rates(y + h / 2 * k2, here + h / 2)
        k4, d4 = rates(y + h * k3, here + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        gained = gained + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    of_pi = law.largest_width**2 + law.spread**2
    difference = law.score_at(law.largest_width)(y) + y / of_pi
    mismatch = of_pi / 2 * difference.square().sum((1, 2))
    return OdeNll(law.cross_entropy(y, 0.0) + gained, y, mismatch)


def nll_bound(
    law: Diffusion,
    y: Float[Tensor, "batch bead dim"],
    generator: torch.Generator,
    *,
    draws: int = 256,
) -> NllBound:
    """An upper bound of -log p(y) at the smallest width, with the exact divergence and stratified noise widths.

    Widths are drawn uniformly in log(s^2 - s_0^2 + s_0^2 / 100), so that every width counts alike. Where noise
    dominates, |score|^2 is nearly |eps|^2 / (s^2 - s_0^2); its deviation from the mean is subtracted in the proportion
    that the divergence at y suggests, which changes the variance and not the mean.

    Args:
        law: The model.
        y: Structures, in the length unit.
        generator: Source of the noise and the widths, on the CPU.
        draws: Number of noised copies of every structure; the standard error falls with its square root or faster.
    """
    y = center(y) if law.centered else y
    least, added = law.smallest_width**2, law.largest_width**2 - law.smallest_width**2
    offset = least / 100
    span = math.log((added + offset) / offset)
    values = []
    for n in range(draws):
        u = (n + float(torch.rand((), generator=generator, dtype=torch.float64))) / draws
        grown = offset * math.exp(u * span)  # tau - tau_0 + offset, so dtau = grown span du
        score = law.score_at((grown - offset + least) ** 0.5)
        values.append(grown * span * _bound_density(law, score, y, max(grown - offset, 0.0), generator))
    path, crossed = torch.stack(values), law.cross_entropy(y, added)
    entropy = law.coordinates(y) / 2 * math.log(2 * math.pi * math.e * added)
    # neighboring draws have nearly the same width, so their differences show the noise
    error = (path[1:] - path[:-1]).square().mean(0).div(2 * draws).sqrt()
    return NllBound(crossed + path.mean(0), error, crossed - entropy)


def _bound_density(law: Diffusion, score: Score, y: Tensor, added: float, generator: torch.Generator) -> Tensor:
    """|score|^2 / 2 + div score at y with noise of variance `added`, less the noise of the first term; (batch,)."""
    noise = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
    noise = center(noise) if law.centered else noise
    noised, n = y + added**0.5 * noise, law.coordinates(y)
    share = (added * divergence(score, y) / n).square().clamp_max(1.0)
    deviation = (noise.square().sum((1, 2)) - n) / (2 * max(added, 1e-300))
    return score(noised).square().sum((1, 2)) / 2 + divergence(score, noised) - share * deviation


def divergence(score: Score, y: Float[Tensor, "batch bead dim"]) -> Float[Tensor, " batch"]:
    """Exact divergence of a score, in the inverse square of the length unit."""
    return score.jacobian(y).diagonal(dim1=1, dim2=2).sum(1)


def log_density_residual(
    log_density: Callable[[Tensor, Tensor], Tensor],
    y: Float[Tensor, "batch bead dim"],
    width: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Residual of the Hamilton-Jacobi-Bellman equation of -log p at points and noise widths s.

        d(log p)/dtau - laplacian(log p) / 2 - |grad log p|^2 / 2 ,    tau = s^2

    It is zero for the density of diffused data. For log p + c(s), as a network's energy gives it, it is c'(tau), the
    same at all points of one width.

    Args:
        log_density: log p (batch,) of points and widths (batch,); differentiable by both.
        y: Points, in the length unit.
        width: Their noise widths, in the length unit.
    """
    time = -width.square()  # the process of data backwards, from noise, whose potential is log p
    return -hjb_residual(lambda z, t: log_density(z, (-t).sqrt()), y.detach(), time, noise=1.0).residual.detach()

"""The Hamilton-Jacobi residual of a scalar potential s(x, t), which training and paths share.

Action Matching learns a scalar s whose gradient moves the marginals q_t of a stochastic process. With noise of
strength sigma (dx = grad s dt + sigma dW) and, where mass may grow, with d log w / dt = g s, the integrand of its loss
is

    r(x, t) = ds/dt + |grad s|^2 / 2 + sigma^2 / 2 laplacian(s) + g / 2 s^2 ,

where the growth g is 0 or 1 / length^2: over this length, moving costs as much as growing. Without growth, the same r
is what a path through the field of s costs (`tpsctl.action.transport`): with fixed ends, the Onsager-Machlup action of
dx = grad s dt + sigma dW is, up to values at the ends,

    integral |dx/dt|^2 / (2 sigma^2) dt + integral r(x(t), t) / sigma^2 dt .

If two potentials belong to the same marginals, one for noise sigma and one for none, then

    grad log q_t = 2 (grad s_sigma - grad s_0) / sigma^2 .

Source: Neklyudov et al., arXiv:2210.06662, eqs. 5, 13 and 17; for the action, Onsager and Machlup, Phys. Rev. 91 (1953)
1505.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Potential = Callable[[Tensor, Tensor], Tensor]
"""s(x, t): positions (batch, ...) and times (batch,) to values (batch,); differentiable by both."""


@dataclass(frozen=True)
class HamiltonJacobi:
    """A potential and its Hamilton-Jacobi residual at some points.

    Attributes:
        value: s, in squared lengths of x per unit of t.
        gradient: grad s, in the shape of x, lengths per unit of t.
        residual: r, in squared lengths per squared unit of t.
    """

    value: Float[Tensor, " batch"]
    gradient: Float[Tensor, "batch *shape"]
    residual: Float[Tensor, " batch"]


def hjb_residual(
    potential: Potential,
    x: Float[Tensor, "batch *shape"],
    t: Float[Tensor, " batch"],
    *,
    noise: float = 0.0,
    growth: float = 0.0,
    probes: Float[Tensor, "probe batch *shape"] | None = None,
) -> HamiltonJacobi:
    """Evaluate r = ds/dt + |grad s|^2 / 2 + noise^2 / 2 laplacian(s) + growth / 2 s^2 with a graph for derivatives.

    Args:
        potential: s.
        x: Points, in any unit of length; the result can be differentiated by x if x requires a gradient.
        t: Their times.
        noise: Strength sigma of the noise, lengths per square root of the unit of t; 0 for none.
        growth: g, per squared length of x, where mass grows at the rate g s; 0 where it does not.
        probes: Random signs for an estimate of the Laplacian; None for the exact one, from one product with the
            Hessian per coordinate.
    """
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_(True)
        t = t if t.requires_grad else t.detach().requires_grad_(True)
        value = potential(x, t)
        gradient, rate = torch.autograd.grad(
            value.sum(), (x, t), create_graph=True, allow_unused=True, materialize_grads=True
        )
        residual = rate + gradient.square().flatten(1).sum(1) / 2
        if noise:
            residual = residual + noise**2 / 2 * _laplacian(gradient, x, probes)
        if growth:
            residual = residual + growth / 2 * value.square()
    return HamiltonJacobi(value, gradient, residual)


def potential_gradient(
    potential: Potential, x: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch *shape"]]:
    """s and grad s at points x and times t, without a graph."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = potential(x, t)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def score_from_pair(
    with_noise: Float[Tensor, "batch *shape"], without_noise: Float[Tensor, "batch *shape"], noise: float
) -> Float[Tensor, "batch *shape"]:
    """grad log q_t = 2 (grad s_sigma - grad s_0) / sigma^2 from two fields with the same marginals.

    Args:
        with_noise: grad s_sigma of the entropic potential, lengths per unit of t.
        without_noise: grad s_0 of the potential without noise, at the same points and times.
        noise: Strength sigma of the noise of the first, > 0.
    """
    return 2 * (with_noise - without_noise) / noise**2


def _laplacian(gradient: Tensor, x: Tensor, probes: Tensor | None) -> Tensor:
    """Trace of the Hessian of s, exact or as a mean over random signs v of v . H v."""
    if not gradient.requires_grad:  # s is linear in x
        return x.new_zeros(len(x))
    if probes is None:
        flat = gradient.flatten(1)
        rows = [_derivative(flat[:, k].sum(), x).flatten(1)[:, k] for k in range(flat.shape[1])]
        return torch.stack(rows).sum(0)
    forms = [(_derivative((gradient * v).sum(), x) * v).flatten(1).sum(1) for v in probes]
    return torch.stack(forms).mean(0)


def _derivative(scalar: Tensor, x: Tensor) -> Tensor:
    if not scalar.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(scalar, x, create_graph=True, allow_unused=True, materialize_grads=True)[0]

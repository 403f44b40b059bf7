"""A hydrogen atom in two states at once: samples of its density at every time, and a distance between samples.

The state is an equal superposition of (n, l, m) = (3, 2, -1) and (2, 1, 0). In atomic units (Bohr, hartree, hbar = 1)

    psi_32 = 4/(81 sqrt 30) sqrt(15/8 pi) exp(-r/3) z (x - iy) ,    psi_21 = 1/(2 sqrt 6) sqrt(3/4 pi) exp(-r/2) z ,
    |psi(t)|^2 = |psi_32 exp(i t/18) + psi_21 exp(i t/8)|^2 / 2 .

The density beats with the frequency 1/8 - 1/18 = 5/72, a period of 90.5, by turning around the z axis like a rigid
body. The published code sets hbar = m = e = epsilon_0 = 1, so that its unit of length is 1/(4 pi) Bohr and its unit of
time 1/(4 pi)^2 atomic units: its T = 14000 is 88.7 atomic units, and its kernel 3 exp(-1e-4 d^2) is
3 exp(-0.0158 d^2) with d in Bohr.

Source: Neklyudov et al., arXiv:2210.06662, sec. 5.3; Gretton et al., J. Mach. Learn. Res. 13 (2012) 723, eq. 3.
"""

import math

import torch
from torch import Tensor

UNIT = 4 * math.pi
"""Bohr radius in the published code's unit of length."""

DURATION = 14_000 / UNIT**2
"""Length of the simulation in atomic units of time, 88.7."""

STEPS = 1000
"""Number of time steps at which there are samples, beside the start."""

_BEAT = 5 / 72
_D_STATE = 4 / (81 * math.sqrt(30)) * math.sqrt(15 / (8 * math.pi))
_P_STATE = 1 / (2 * math.sqrt(6)) * math.sqrt(3 / (4 * math.pi))
_KERNEL = 1e-4 * UNIT**2
_PROPOSAL_BOHR, _BURN_IN, _BETWEEN = 4.0, 500, 12


def log_density(x: Tensor, time: float) -> Tensor:
    """log |psi|^2 (batch,) at points x (batch, 3) in Bohr, at a time in atomic units."""
    r = x.norm(dim=-1)
    d_state, p_state = _D_STATE * torch.exp(-r / 3), _P_STATE * torch.exp(-r / 2)
    c, s = math.cos(_BEAT * time), math.sin(_BEAT * time)
    crossing = x[:, 0] * c - x[:, 1] * s  # real part of (x - iy) exp(-i beat time)
    squared = d_state.square() * x[:, :2].square().sum(-1) + p_state.square() + 2 * d_state * p_state * crossing
    return (x[:, 2].square() * squared / 2).clamp_min(torch.finfo(x.dtype).tiny).log()


def exact_samples(count: int, time: float, generator: torch.Generator) -> Tensor:
    """Independent samples (count, 3), Bohr, by rejection from an envelope that |psi|^2 never exceeds."""
    found = torch.empty(0, 3, dtype=torch.float64)
    while len(found) < count:
        x = _from_envelope(4 * count, generator)
        accepted = log_density(x, time).exp() / _envelope(x)
        found = torch.cat((found, x[torch.rand(len(x), generator=generator, dtype=torch.float64) < accepted]))
    return found[:count]


def metropolis_samples(count: int, generator: torch.Generator) -> Tensor:
    """Samples (STEPS + 1, count, 3), Bohr, float32: one Metropolis chain each, whose density moves on with time."""
    x = 4 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    found = torch.empty(STEPS + 1, count, 3, dtype=torch.float32)
    x = _metropolis(x, 0.0, _BURN_IN, generator)
    for k in range(STEPS + 1):
        x = _metropolis(x, k * DURATION / STEPS, _BETWEEN, generator)
        found[k] = x
    return found


def squared_mmd(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of two samples in Bohr, with the published kernel."""

    def off_diagonal(p: Tensor) -> float:
        return float((_kernel(p, p).sum() - 3 * len(p)) / (len(p) * (len(p) - 1)))

    return off_diagonal(a) + off_diagonal(b) - 2 * float(_kernel(a, b).mean())


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return 3 * torch.exp(-_KERNEL * torch.cdist(a.double(), b.double()).square())


def _metropolis(x: Tensor, time: float, steps: int, generator: torch.Generator) -> Tensor:
    before = log_density(x, time)
    for _ in range(steps):
        moved = x + _PROPOSAL_BOHR * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        after = log_density(moved, time)
        accepted = after - before > torch.rand(len(x), generator=generator, dtype=x.dtype).log()
        x, before = torch.where(accepted.unsqueeze(-1), moved, x), torch.where(accepted, after, before)
    return x


def _from_envelope(count: int, generator: torch.Generator) -> Tensor:
    """Points from a density proportional to `_envelope`, whose radii have gamma distributions."""
    rand = torch.rand(count, 4, generator=generator, dtype=torch.float64)
    exponentials = -torch.rand(count, 7, generator=generator, dtype=torch.float64).log()
    of_d_state = rand[:, 0] < 2.5 / 3.5
    r = torch.where(of_d_state, 1.5 * exponentials.sum(1), exponentials[:, :5].sum(1))
    cosine = rand[:, 1] ** (1 / 3) * torch.where(rand[:, 2] < 0.5, 1.0, -1.0)
    sine, phi = (1 - cosine.square()).sqrt(), 2 * math.pi * rand[:, 3]
    return r.unsqueeze(-1) * torch.stack((sine * phi.cos(), sine * phi.sin(), cosine), dim=1)


def _envelope(x: Tensor) -> Tensor:
    """|psi_32|^2 with the square of the sine of its polar angle left out, plus |psi_21|^2: at least |psi|^2."""
    r = x.norm(dim=-1)
    return x[:, 2].square() * ((_D_STATE * r * torch.exp(-r / 3)).square() + (_P_STATE * torch.exp(-r / 2)).square())

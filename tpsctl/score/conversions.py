"""Conversions between the noise in x_t = alpha x_0 + sigma eps and score, clean estimate and velocity.

    score = -eps_hat / sigma                        x_0_hat = (x_t - sigma eps_hat) / alpha
    u = alpha' x_0_hat + sigma' eps_hat             eps_hat = (alpha u - alpha' x_t) / (alpha sigma' - alpha' sigma)

u is the velocity of the probability flow dx/dt = u, written for increasing t (towards noise).

A network that serves every schedule sees y = x_t / alpha and the relative noise width r = sigma / alpha instead of x_t
and t, both in a form of order one, for data of unit variance:

    z = y / (1 + r^2)^(1/2) ,      clock = log(r) / 4

Source: Song et al., arXiv:2011.13456; Lipman et al., arXiv:2210.02747; Karras et al., arXiv:2206.00364, table 1 (z and
the clock).
"""

import torch
from torch import Tensor

from tpsctl.score.schedule import NoiseSchedule


def score_from_noise(noise: Tensor, sigma: Tensor | float) -> Tensor:
    """Score = -eps_hat / sigma from predicted noise, in the inverse of the length unit of sigma."""
    return -noise / sigma


def clean_from_noise(x_t: Tensor, noise: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
    """Clean estimate x_0_hat = (x_t - sigma eps_hat) / alpha from predicted noise, in the length unit of x_t."""
    return (x_t - sigma * noise) / alpha


def noise_from_velocity(x_t: Tensor, velocity: Tensor, schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """Noise eps_hat = (alpha u - alpha' x_t) / (alpha sigma' - alpha' sigma) from a predicted velocity.

    Args:
        x_t: Noised configurations, in the length unit of the schedule.
        velocity: u, in this unit per unit of t, for increasing t.
        schedule: Gives alpha and sigma.
        t: Diffusion times, of a shape that broadcasts with x_t.
    """
    alpha, alpha_dot = schedule.alpha(t), schedule.alpha_dot(t)
    determinant = alpha * schedule.sigma_dot(t) - alpha_dot * schedule.sigma(t)
    return (alpha * velocity - alpha_dot * x_t) / determinant


def width_input(y: Tensor, width: Tensor | float) -> Tensor:
    """z = y / (1 + r^2)^(1/2): data of unit variance with noise of width r, scaled to unit variance."""
    return y / (1 + width**2) ** 0.5


def width_clock(width: Tensor) -> Tensor:
    """log(r) / 4, the clock of a network that sees noise widths."""
    return torch.log(width) / 4

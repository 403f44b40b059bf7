"""Guidance to a surface: exact for a Gaussian and a linear coordinate, and the gradient of what it says."""

import math

import torch

from tpsctl.score.base import AutogradScore
from tpsctl.score.guidance.base import DenoisedGuide
from tpsctl.score.guidance.process import guided_diffusion, initial_noise
from tpsctl.score.guidance.surface import SurfaceGuide
from tpsctl.score.likelihood import Diffusion
from tpsctl.score.reverse_process import geometric_widths

STD, BAND = 0.7, 0.4
LAW = Diffusion(lambda s: AutogradScore(lambda y: -y / (STD**2 + s**2)), 0.01, 20.0, spread=STD)
NORMAL = torch.tensor([[1.5, -2.0]], dtype=torch.float64)


def linear(y):
    return (y * NORMAL.to(y)).sum((1, 2)) - 1.2


def surface(**changed):
    given = {"strength": lambda s: 1.0, "bandwidth": lambda s: BAND, "centered": False}
    return SurfaceGuide(changed.pop("coordinate", linear), **(given | changed))


def test_the_term_is_the_gradient_of_the_exact_tilt(generator):
    """E[exp(-r^2 / 2 b^2) | y] is a Gaussian in r at the posterior mean with the variance b^2 + v; by differences."""
    y = torch.randn(3, 1, 2, generator=generator)
    for s in (0.05, 0.5, 3.0):
        score = LAW.score_at(s)
        shrunk = STD**2 / (STD**2 + s**2)
        variance = s**2 * shrunk * float(NORMAL.square().sum())

        def log_tilt(z, shrunk=shrunk, variance=variance):
            return -linear(shrunk * z).square() / (2 * (BAND**2 + variance))

        _, h = surface().guided(score, y, s)
        step, expected = 1e-5, torch.zeros_like(y)
        for k in range(2):
            move = torch.zeros_like(y)
            move[..., k] = step
            expected[:, 0, k] = (log_tilt(y + move) - log_tilt(y - move)) / (2 * step)
        torch.testing.assert_close(h, expected, rtol=1e-7, atol=1e-9)  # central differences of a quadratic are exact


def test_samples_and_work_are_those_of_the_tilted_gaussian(generator):
    """r of the data is N(m, v); times exp(-r^2 / 2 b^2) it is N(m', v') with 1/v' = 1/v + 1/b^2, m' = m v' / v."""
    mean, variance = -1.2, STD**2 * float(NORMAL.square().sum())
    left = 1 / (1 / variance + 1 / BAND**2)
    shifted = mean * left / variance
    divergence = (left / variance + (shifted - mean) ** 2 / variance - 1 - math.log(left / variance)) / 2
    start = initial_noise(LAW, torch.zeros(4000, 1, 2), generator)
    found = guided_diffusion(LAW, surface(), start, geometric_widths(20.0, 0.01, 300), generator)
    r = linear(found.y)
    assert abs(float(r.mean()) - shifted) < 4 * math.sqrt(left / 4000)
    # the standard error is 2 % of it; steps of 2.5 % in the width add as much
    assert abs(float(r.var()) / left - 1) < 0.12
    work = float(found.work.sum(0).mean())
    assert abs(work - divergence) < 0.06  # the mean over 4000 samples has an error of 0.015, the steps one of 0.03


def test_the_second_kernel_is_guidance_by_the_posterior_mean(generator):
    y, score = torch.randn(4, 3, 3, generator=generator), LAW.score_at(0.3)

    def bell(z):
        return -(z - 0.4).square().sum((1, 2)) / 2

    only_near = surface(strength=lambda s: 0.0, near=bell, near_strength=lambda s: 0.8)
    _, expected = DenoisedGuide(bell, lambda s: 0.8).guided(score, y, 0.3)
    torch.testing.assert_close(only_near.guided(score, y, 0.3)[1], expected)


def test_without_strength_nothing_is_guided(generator):
    y = torch.randn(4, 1, 2, generator=generator)
    score = LAW.score_at(0.3)
    found, h = surface(strength=lambda s: 1e-4).guided(score, y, 0.3)
    torch.testing.assert_close(found, score(y))
    assert not bool(h.any())

"""Calibration of scores on held-out frames, against Gaussian data whose noised score is known."""

import pytest
import torch

from tpsctl.molecule.geometry import center
from tpsctl.score.base import AutogradScore
from tpsctl.training.quality.calibration import calibration_slope, fokker_planck_residual
from tpsctl.training.targets import internal_rotations

STD, WIDTH, BEADS = 0.02, 0.005, 3
FRAMES = 4000


@pytest.fixture
def frames():
    g = torch.Generator().manual_seed(1)
    return center(STD * torch.randn(FRAMES, BEADS, 3, generator=g))


def gaussian(width=WIDTH, factor=1.0):
    """The score of centered Gaussian data with noise, times a factor."""
    return AutogradScore(lambda x: -factor * center(x) / (STD**2 + width**2))


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_slope_of_a_score_that_is_too_large_by_a_factor_is_its_inverse(frames, factor):
    slope = calibration_slope(gaussian(factor=factor), frames, WIDTH, torch.Generator().manual_seed(2))
    assert abs(slope.value - 1 / factor) < 4 * slope.error
    assert slope.error < 0.02 / factor


def test_the_slope_is_the_part_of_the_score_that_is_signal(frames):
    """A field div-free and uncorrelated with x: rotation about z of bead positions, E[n . s*] = 0."""
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    variance = STD**2 + WIDTH**2
    score = AutogradScore(lambda x: (-center(x) + center(x) @ turn) / variance)  # |n|^2 is 2/3 of |s*|^2
    slope = calibration_slope(score, frames, WIDTH, torch.Generator().manual_seed(2))
    assert abs(slope.value - 1 / (1 + 2 / 3)) < 4 * slope.error


def test_the_error_of_the_slope_does_not_grow_as_the_width_vanishes(frames):
    errors = [calibration_slope(gaussian(w), frames, w, torch.Generator().manual_seed(2)).error for w in (1e-5, 5e-3)]
    assert errors[0] < 2 * errors[1]


def test_the_slope_of_torques_is_found(peroxide, thermal):

    def score(factor):
        def of(y):
            y = y.requires_grad_(True) if not y.requires_grad else y
            return torch.autograd.grad(-factor * peroxide.energy(y).sum(), y, create_graph=True)[0]

        return AutogradScore(of)

    rotations, width = internal_rotations(peroxide.topology), 1e-4
    frames = thermal(FRAMES)
    slopes = [
        calibration_slope(_graph(score(factor)), frames, width, torch.Generator().manual_seed(2), rotations=rotations)
        for factor in (1.0, 2.0)
    ]
    assert abs(slopes[0].value - 1) < 4 * slopes[0].error
    assert slopes[0].error < 0.1
    assert slopes[1].value == pytest.approx(slopes[0].value / 2, rel=1e-6)


def test_the_residual_vanishes_for_the_heat_equation_and_not_for_a_width_that_is_wrong(frames):
    def log_density(factor):
        def at(x, width):
            variance = STD**2 + (factor * width) ** 2
            return -center(x).square().sum((1, 2)) / (2 * variance)

        return at

    y = frames[:200]
    exact = fokker_planck_residual(log_density(1.0), gaussian(WIDTH), y, WIDTH)
    wrong = fokker_planck_residual(log_density(1.5), gaussian(1.5 * WIDTH), y, WIDTH)
    assert exact < 1e-3, "the error of a central difference with a step of 1 %"
    assert wrong == pytest.approx(1.5**2 - 1, rel=1e-2), "d log p / d lambda is too large by the square of the factor"


def _graph(score):
    """The same score, evaluated where autograd is on."""

    class On(AutogradScore):
        def __call__(self, x):
            with torch.enable_grad():
                return score._score_fn(x.detach().requires_grad_(True)).detach()

    return On(score._score_fn)

"""Relaxed structures and their strain."""

import pytest
import torch

from tpsctl.score.base import AutogradScore
from tpsctl.training.quality.relaxation import relaxed, strain


def force(peroxide, scale=1.0):
    def of(x):
        with torch.enable_grad():
            y = (x * scale).detach().requires_grad_(True)
            return -torch.autograd.grad(peroxide.energy(y).sum(), y)[0]

    return AutogradScore(of)


def test_relaxed_frames_are_near_stationary_and_thermal_ones_have_unit_strain(peroxide, thermal):
    x = thermal(300)
    found = relaxed(force(peroxide), x[:40])
    assert (peroxide.energy(found) < peroxide.energy(x[:40])).all()
    assert force(peroxide)(found).norm(dim=(1, 2)).median() < 0.02 * force(peroxide)(x[:40]).norm(dim=(1, 2)).median()
    assert strain(peroxide.topology, x, x) == pytest.approx(1, rel=0.01)
    assert strain(peroxide.topology, found, x) < 0.05


def test_a_model_whose_bonds_are_too_long_is_strained(peroxide, thermal):
    x = thermal(300)
    found = relaxed(force(peroxide, scale=0.97), x[:40])
    expected = (0.03 / 0.97) * 0.1 / float((x[:, 0] - x[:, 1]).norm(dim=-1).std())
    assert strain(peroxide.topology, found, x) > 0.3 * expected**2


def test_a_score_that_is_not_finite_gives_no_strain_that_passes(peroxide):
    x, _ = peroxide.frames(100)
    broken = relaxed(AutogradScore(lambda y: y * torch.nan), x[:4])
    assert not strain(peroxide.topology, broken, x) <= 1e9

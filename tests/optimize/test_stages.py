"""Stages: continuation, refinement, names."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.optimize import Convergence, LevenbergMarquardt, Stage, interpolated, run_stages
from tpsctl.prior.double_well import DoubleWellPrior


@settings(deadline=None, max_examples=30)
@given(old=st.integers(2, 40), new=st.integers(2, 120))
def test_interpolation_keeps_ends_bit_identical_and_straight_lines_straight(old, new):
    ends = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    line = ends[:, :1] + torch.linspace(0, 1, old, dtype=torch.float64).view(1, -1, 1, 1) * (ends[:, 1:] - ends[:, :1])
    line[:, -1] = ends[:, 1]
    got = interpolated(line, new)
    expected = ends[:, :1] + torch.linspace(0, 1, new, dtype=torch.float64).view(1, -1, 1, 1) * (
        ends[:, 1:] - ends[:, :1]
    )
    assert torch.equal(got[:, [0, -1]], line[:, [0, -1]])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_interpolation_keeps_the_length_of_a_turning_bond():
    """A bond turning by 0.2 rad an image: chords shorten it by 0.5 %, the cubic by less than 0.01 %."""
    angle = 0.2 * torch.arange(15)
    path = torch.stack([torch.stack([torch.zeros(15), torch.zeros(15)], 1), torch.stack([angle.cos(), angle.sin()], 1)])
    lengths = interpolated(path.transpose(0, 1).unsqueeze(0), 57)[0].diff(dim=1).norm(dim=-1)
    assert (lengths[4:-4] - 1).abs().max() < 1e-4


def test_same_number_of_images_is_the_same_path():
    path = torch.randn(1, 7, 2, 3)
    assert interpolated(path, 7) is path


def stage(name, dt_ps, images=None):
    prior = DoubleWellPrior(temperature_k=300.0, barrier=20.0, half_distance_nm=0.2, stiffness=2000.0, n_dims=2)
    motion = Dynamics.uniform(dt_ps=dt_ps, diffusion_nm2_per_ps=0.1, n_beads=1)
    optimizer = LevenbergMarquardt(max_steps=100, convergence=Convergence(1e-8, 1e-3))
    return Stage(name, optimizer, TruncatedAction(prior.at(0.0), motion), images)


def test_stages_follow_one_another():
    bow = torch.sin(torch.linspace(0, math.pi, 16))
    path = torch.stack([torch.linspace(-0.2, 0.2, 16), 0.1 * bow], 1).view(1, 16, 1, 2)
    path[:, -1, :, 1] = 0
    reports = []
    stages = [stage("coarse", 1e-3, 11), stage("longer", 4e-3), stage("fine", 1e-3, 41)]
    found, outcomes = run_stages(stages, path, on_step=reports.append)
    assert found.shape == (1, 41, 1, 2)
    assert torch.equal(found[:, [0, -1]], path[:, [0, -1]])
    assert list(dict.fromkeys(r.stage for r in reports)) == ["coarse", "longer", "fine"]
    assert all(outcome.all_converged for outcome in outcomes)
    direct, _ = run_stages([stage("fine", 1e-3, 41)], path)
    torch.testing.assert_close(found, direct, rtol=0, atol=1e-5)  # one minimum, whatever the way there
    assert outcomes[-1].steps[0] < 20


@pytest.mark.parametrize("images", [11, 21])
def test_top_of_the_path_is_the_barrier(images):
    prior = DoubleWellPrior(temperature_k=300.0, barrier=20.0, half_distance_nm=0.2, stiffness=2000.0, n_dims=2)
    path = torch.stack([torch.linspace(-0.2, 0.2, images), torch.zeros(images)], 1).view(1, images, 1, 2)
    path[:, 1:-1, :, 1] += 0.05
    found, _ = run_stages([stage("only", 1e-3)], path)
    assert prior.energy(found[0]).max().item() == pytest.approx(20.0, abs=0.01)

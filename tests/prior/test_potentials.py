"""Model potentials and the priors made of them."""

import pytest
import torch

from tpsctl.errors import PriorError
from tpsctl.prior.double_well import DoubleWellPrior
from tpsctl.prior.mueller_brown import MuellerBrownPrior
from tpsctl.prior.potentials import double_well, mueller_brown
from tpsctl.units import BOLTZMANN

MUELLER_BROWN = {
    (23.073, 31.072): -12.686,
    (41.897, 8.463): -9.266,
    (31.177, 15.477): -7.022,
    (18.827, 17.988): -3.539,
    (35.428, 12.653): -6.250,
}
"""Minima and saddles of the published surface."""


@pytest.mark.parametrize(("point", "energy"), MUELLER_BROWN.items())
def test_mueller_brown_has_its_stationary_points(point, energy):
    x = torch.tensor([[point]])
    assert mueller_brown(x).item() == pytest.approx(energy, abs=1e-3)
    score = MuellerBrownPrior(temperature_k=1 / BOLTZMANN).at(0.0)(x)
    assert score.abs().max().item() < 2e-3  # points are given to 0.001, curvatures are below 2


def test_double_well_has_its_barrier_and_curvature():
    x = torch.tensor([[[-0.1, 0.0]], [[0.0, 0.0]], [[0.1, 0.02]]])
    energy = double_well(x, barrier=20.0, half_distance_nm=0.1, stiffness=1000.0)
    assert energy.tolist() == pytest.approx([0.0, 20.0, 0.2])


@pytest.mark.parametrize(
    "prior", [DoubleWellPrior(temperature_k=300.0, n_dims=3), MuellerBrownPrior(temperature_k=2.0)]
)
def test_score_is_minus_the_gradient_over_kt(prior):
    x, h = 0.1 * torch.randn(4, 1, prior.n_dims), 1e-6
    direction = torch.randn_like(x)
    slope = (prior.energy(x + h * direction) - prior.energy(x - h * direction)) / (2 * h)
    expected = -slope / (BOLTZMANN * prior.temperature_k)
    # Central differences of energies: rounding 1e-16 E/h.
    torch.testing.assert_close((prior.at(0.0)(x) * direction).sum((1, 2)), expected, rtol=1e-6, atol=1e-6)


def test_a_force_field_has_no_diffusion_time():
    with pytest.raises(PriorError, match='prior "mueller_brown" is a force field: got diffusion_time 0.1, expected 0'):
        MuellerBrownPrior(temperature_k=300.0).at(0.1)

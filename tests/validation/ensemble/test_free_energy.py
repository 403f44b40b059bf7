"""The free energy of known densities."""

import math

import pytest
import torch

from tpsctl.units import thermal_energy
from tpsctl.validation.ensemble.free_energy import free_energy

KT = thermal_energy(300.0)


def test_uniform_samples_have_a_flat_free_energy():
    q = (torch.arange(1000) + 0.5) / 1000
    found = free_energy(q, bins=10, temperature_k=300.0)
    torch.testing.assert_close(found.values, torch.zeros(10), rtol=0, atol=1e-12)


def test_three_to_one_is_kt_ln_3_and_an_empty_bin_is_infinite():
    q = torch.tensor([0.1, 0.1, 0.1, 0.6])
    found = free_energy(q, bins=4, temperature_k=300.0)
    assert found.values.tolist() == pytest.approx([0, math.inf, KT * math.log(3), math.inf])
    assert found.at(torch.tensor([0.1, 0.6, 2.0])).tolist() == pytest.approx([0, KT * math.log(3), math.inf])


def test_weights_count_like_copies():
    weighted = free_energy(torch.tensor([0.1, 0.6]), bins=2, temperature_k=300.0, weights=torch.tensor([3.0, 1.0]))
    copied = free_energy(torch.tensor([0.1, 0.1, 0.1, 0.6]), bins=2, temperature_k=300.0)
    torch.testing.assert_close(weighted.values, copied.values)


def test_the_limits_of_the_range_belong_to_the_outer_bins():
    found = free_energy(torch.tensor([0.0, 1.0]), bins=2, temperature_k=300.0)
    assert found.values.tolist() == [0, 0]
    assert found.at(torch.tensor([0.0, 1.0])).tolist() == [0, 0]


def test_the_barrier_is_counted_from_the_lower_state():
    q = torch.cat([torch.full((count,), value) for value, count in ((0.1, 8), (0.5, 1), (0.9, 4), (0.3, 2), (0.7, 2))])
    found = free_energy(q, bins=5, temperature_k=300.0)
    assert found.barrier(0.2, 0.8) == pytest.approx(KT * math.log(8))

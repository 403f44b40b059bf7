"""Divergences of internal coordinates from data."""

import math

import pytest
import torch

from tpsctl.training.quality.distributions import BINS, Coordinate, divergence, divergences, internal_coordinates


def coordinate(values):
    return Coordinate("q", values)


def test_disjoint_sets_are_at_the_largest_divergence_and_a_set_is_at_none_from_itself():
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert divergence(coordinate(x), coordinate(x), periodic=False) == 0
    assert divergence(coordinate(x + 5), coordinate(x), periodic=False) == pytest.approx(math.log(2), abs=0.03), (
        "half a percent of the reference shares the outer bin"
    )


def test_two_shifted_gaussians_have_the_divergence_of_the_integral():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(400_000, generator=g), 1 + torch.randn(400_000, generator=g)
    x = torch.linspace(-8, 9, 20001)
    p, q = (torch.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (0.0, 1.0))
    m = (p + q) / 2
    exact = torch.trapezoid((p * (p / m).log() + q * (q / m).log()) / 2, x)
    # 30 bins over five standard deviations coarsen the integrand by about 1 %
    assert divergence(coordinate(a), coordinate(b), periodic=False) == pytest.approx(float(exact), rel=0.02)


def test_the_floor_of_equal_laws_is_that_of_finite_samples():
    """For n structures each and B bins the expectation is about (B - 1) / (4 n)."""
    g = torch.Generator().manual_seed(0)
    n = 2000
    found = [
        divergence(coordinate(torch.randn(n, generator=g)), coordinate(torch.randn(n, generator=g)), periodic=False)
        for _ in range(40)
    ]
    assert sum(found) / 40 == pytest.approx((BINS + 1) / (8 * n) * 2, rel=0.25)


def test_bonds_angles_and_torsions_of_a_molecule_are_measured(peroxide):
    x, _ = peroxide.frames(500)
    found = internal_coordinates(peroxide.topology, x)
    assert {sort: len(values) for sort, values in found.items()} == {"bonds": 3, "angles": 2, "torsions": 1}
    assert found["bonds"][1].name == "A:PER1:O1-A:PER1:O2"
    assert float(found["bonds"][1].values.mean()) == pytest.approx(0.15, abs=1e-3)
    assert float(found["angles"][0].values.mean()) == pytest.approx(math.acos(-0.038 / 0.1), abs=0.01)
    assert divergences(found, found)["torsions"] == {"A:PER1:H1-A:PER1:O1-A:PER1:O2-A:PER1:H2": 0.0}

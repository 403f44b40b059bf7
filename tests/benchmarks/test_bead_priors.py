"""The reference of the bead benchmark: a posterior whose mean force is known, and what is projected out."""

import math

import numpy as np
import pytest
import torch


@pytest.fixture
def beads(root, monkeypatch):
    monkeypatch.syspath_prepend(root)
    from benchmarks import bead_priors

    return bead_priors


def test_the_mean_force_of_a_harmonic_well_is_the_score_of_its_noised_density(beads):
    """x ~ N(0, kT/k) and noise sigma: the score at y is -y / (kT/k + sigma^2), here -y / (2 sigma^2)."""
    import openmm

    kt, stiffness = 2.5, 1000.0
    sigma = math.sqrt(kt / stiffness)
    system = openmm.System()
    well = openmm.CustomExternalForce(f"{stiffness / 2}*(x^2+y^2+z^2)")
    for i in range(4):
        system.addParticle(110.0)
        well.addParticle(i, [])
    system.addForce(well)
    posterior = beads.Posterior(system, sigma, kt)
    random = np.random.default_rng(0)
    along = square = 0.0
    for _ in range(20):
        clean = sigma * random.standard_normal((4, 3))
        y = clean + sigma * random.standard_normal((4, 3))
        score = posterior.mean_force(clean, y, random) / kt
        along, square = along + (score * y).sum(), square + (y * y).sum()
    assert posterior.accepted / (20 * beads.MOVES) > 0.9
    # the mean of 55 correlated samples of spread 0.7 sigma, over 240 coordinates of spread 1.4 sigma
    assert along / square == pytest.approx(-1 / (2 * sigma**2), rel=0.05)


def test_without_bonds_leaves_what_changes_no_bond_length(beads):
    y, bonds = torch.randn(3, 5, 3), ((0, 1), (1, 2), (2, 3), (3, 4))
    free = beads.without_bonds(y, bonds)
    v = free(torch.randn(3, 15)).view_as(y)
    for i, j in bonds:
        unit = torch.nn.functional.normalize(y[:, i] - y[:, j], dim=1)
        rate = (unit * (v[:, i] - v[:, j])).sum(1)
        torch.testing.assert_close(rate, torch.zeros(3), rtol=0, atol=1e-12)
    torch.testing.assert_close(free(v.flatten(1)), v.flatten(1))


def test_the_divergence_of_a_distribution_from_itself_is_sampling_noise(beads):
    a, b = torch.randn(1000, 4, 3), torch.randn(1000, 4, 3)
    # of two histograms with 40 bins and 1000 values each: 40 / (4 * 1000) for filled bins
    assert 0 < beads.divergence(a, b) < 0.012
    assert beads.divergence(a, 1.5 * b) > 0.05


def test_divergence_of_two_coordinates_is_zero_for_equal_and_ln_2_for_disjoint_sets(beads, generator):
    a = torch.rand(500, 2, generator=generator)
    assert beads.folding_divergence(a, a) == 0
    assert beads.folding_divergence(a, a + 5) == pytest.approx(math.log(2), rel=1e-12)

"""Energies region by region: known errors are found, words and JSON follow."""

import json
import math
import re

import pytest
import torch

from tpsctl.training.quality.regions import LEAST_FRAMES, measure_regions

NAMES = ("phi", "psi")


@pytest.fixture
def angles(generator):
    """Two basins of phi, 1000 frames each, and the basin of every frame."""
    basin = torch.arange(2000) % 2
    noise = 0.05 * torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    return noise + torch.stack((2.0 * basin - 1, torch.zeros(2000)), 1), basin


def test_the_difference_of_two_basins_is_found(angles, generator):
    x, basin = angles
    residual = 3.0 + 0.8 * basin + 0.1 * torch.randn(2000, generator=generator, dtype=torch.float64)
    found = measure_regions(NAMES, x, x, residual)
    assert len(found.cover.centers) == 2
    # The standard error of a mean of 1000 residuals with a spread of 0.1 is 0.0032; four of them for a difference.
    assert found.largest_error_kj_per_mol == pytest.approx(0.8, abs=0.013)
    torch.testing.assert_close(
        found.error_kj_per_mol, torch.full((2,), 0.1 / math.sqrt(1000)).double(), rtol=0.1, atol=0
    )
    assert re.search(r"wrong by up to 0\.(79|8|81) kJ/mol: expect as much of barriers", found.words)


def test_a_constant_is_no_error(angles):
    x, _ = angles
    found = measure_regions(NAMES, x, x, torch.full((2000,), 55.0))
    assert found.largest_error_kj_per_mol == pytest.approx(0.0, abs=1e-9)


def test_regions_with_few_held_out_frames_do_not_count(angles):
    x, basin = angles
    some = torch.cat((x[basin == 0], x[basin == 1][: LEAST_FRAMES - 1]))
    found = measure_regions(NAMES, x, some, torch.zeros(len(some)))
    assert int(found.residual_kj_per_mol.isfinite().sum()) == 1
    assert (found.largest_error_kj_per_mol, found.words) == (None, "")


def test_without_energies_the_regions_remain(angles):
    x, _ = angles
    found = measure_regions(NAMES, x, x, None)
    assert (found.residual_kj_per_mol, found.largest_error_kj_per_mol, found.words) == (None, None, "")
    stored = json.loads(json.dumps(found.as_json()))
    assert stored["torsions"] == ["phi", "psi"]
    assert len(stored["centers_deg"]) == 2
    assert stored["residual_kj_per_mol"] is None


def test_missing_means_are_null_in_json(angles):
    x, basin = angles
    found = measure_regions(NAMES, x, x[basin == 0], torch.zeros(1000)).as_json()
    assert sorted(found["residual_kj_per_mol"], key=str) == [0.0, None]


def test_torsions_that_are_everywhere_have_no_cover(generator):
    x = 2 * math.pi * torch.rand(4000, 12, generator=generator, dtype=torch.float64)
    assert measure_regions(tuple("abcdefghijkl"), x, x, None) is None

"""Strings and their peaks."""

import pytest
import torch

from tests.landscape.conftest import SCALE
from tpsctl.landscape.coordinates import Cartesian
from tpsctl.landscape.string import StringSettings, evenly_spaced, peaks, relax_strings


def test_a_string_finds_the_passes_of_mueller_brown(mueller_brown_surface):
    ends = torch.tensor([[[23.073, 31.072]], [[41.897, 8.463]]]) / SCALE
    s = torch.linspace(0, 1, 48).reshape(-1, 1, 1)
    settings = StringSettings(iterations=300, max_move_nm=0.003)
    string = relax_strings(mueller_brown_surface, ((1 - s) * ends[0] + s * ends[1])[None], Cartesian(), settings)
    tops = [float(string.energy[0, k]) for k in peaks(string.energy[0])]
    # Images 0.006 nm apart straddle a top; the curvature along the path there loses up to 0.1 kJ/mol.
    assert tops == pytest.approx([-3.539, -6.250], abs=0.15)
    assert torch.equal(string.x[0, [0, -1]], ends)


def test_images_lie_at_equal_distances_after_spacing():
    x = torch.cumsum(torch.rand(1, 9, 1, 2), 1)
    even = evenly_spaced(x, rigid_motions=False)
    line = torch.linspace(0, 1, 9).reshape(1, -1, 1, 1) ** 2 * torch.tensor([3.0, 4.0])
    gaps = (evenly_spaced(line, rigid_motions=False)[0, 1:] - evenly_spaced(line, rigid_motions=False)[0, :-1]).norm(dim=-1)
    assert torch.allclose(gaps, torch.full_like(gaps, 5 / 8), atol=1e-12)
    assert torch.equal(even[:, [0, -1]], x[:, [0, -1]])


def test_peaks_are_ranked_and_ripples_are_none():
    energy = torch.tensor([0.0, 5, 4.8, 5.1, 2, 9, 1, 3, 0])
    assert peaks(energy) == [5, 3, 7]
    assert peaks(energy, prominence=2.5) == [5, 3]
    assert peaks(torch.tensor([0.0, 1, 2, 3])) == []

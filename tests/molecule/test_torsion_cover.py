"""A cover by torsions: every structure lies in a region, distances are those on a circle."""

import math

import pytest
import torch

from tpsctl.molecule.torsion_cover import cover, torus_distance


@pytest.fixture
def angles(generator):
    return (2 * torch.rand(3000, 3, generator=generator, dtype=torch.float64) - 1) * torch.tensor([math.pi, 1.0, 0.2])


def test_the_distance_is_the_largest_difference_on_a_circle():
    angles = torch.tensor([[3.1, 0.0], [0.0, 0.5], [-3.1, -0.2]], dtype=torch.float64)
    found = torus_distance(angles, torch.tensor([3.1, 0.0], dtype=torch.float64))
    expected = torch.tensor([0.0, 3.1, 0.2], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_every_frame_lies_within_the_radius_and_centers_are_farther_apart(angles):
    found = cover(angles, radius=0.4)
    nearest, distance = found.nearest(angles)
    assert float(distance.max()) == found.radius <= 0.4
    assert len(found.centers) == len(set(nearest.tolist()))
    apart = torch.stack([torus_distance(found.centers, center) for center in found.centers])
    assert float(apart[~torch.eye(len(apart), dtype=torch.bool)].min()) > 0.4


def test_there_are_no_more_regions_than_allowed(angles):
    few = cover(angles, radius=0.01, most=20)
    assert len(few.centers) == 20
    assert few.radius == float(few.nearest(angles)[1].max()) > 0.01


def test_one_structure_is_one_region():
    found = cover(torch.zeros(5, 2))
    assert (len(found.centers), found.radius) == (1, 0.0)


def test_what_was_never_seen_is_outside():
    found = cover(torch.linspace(-2.0, -1.0, 200).unsqueeze(1).double())
    assert float(found.nearest(torch.tensor([[1.2]], dtype=torch.float64))[1]) > 2.0

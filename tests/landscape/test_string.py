"""Strings and their peaks."""

import pytest
import torch

from tests.landscape.conftest import SCALE, route_search
from tpsctl.landscape.pinned_path import least_images, pinned_path, shared_out
from tpsctl.landscape.search_state import SearchSettings
from tpsctl.landscape.string import StringSettings, evenly_spaced, peaks, relax_strings


def test_a_string_finds_the_passes_of_mueller_brown(mueller_brown_surface):
    ends = torch.tensor([[[23.073, 31.072]], [[41.897, 8.463]]]) / SCALE
    s = torch.linspace(0, 1, 48).reshape(-1, 1, 1)
    settings = StringSettings(iterations=300, max_move_nm=0.003)
    string = relax_strings(mueller_brown_surface, ((1 - s) * ends[0] + s * ends[1])[None], settings)
    tops = [float(string.energy[0, k]) for k in peaks(string.energy[0])]
    # Images 0.006 nm apart straddle a top; the curvature along the path there loses up to 0.1 kJ/mol.
    assert tops == pytest.approx([-3.539, -6.250], abs=0.15)
    assert torch.equal(string.x[0, [0, -1]], ends)


def test_images_lie_at_equal_distances_after_spacing():
    x = torch.cumsum(torch.rand(1, 9, 1, 2), 1)
    even = evenly_spaced(x, rigid_motions=False)
    line = torch.linspace(0, 1, 9).reshape(1, -1, 1, 1) ** 2 * torch.tensor([3.0, 4.0])
    gaps = (evenly_spaced(line, rigid_motions=False)[0, 1:] - evenly_spaced(line, rigid_motions=False)[0, :-1]).norm(
        dim=-1
    )
    assert torch.allclose(gaps, torch.full_like(gaps, 5 / 8), atol=1e-12)
    assert torch.equal(even[:, [0, -1]], x[:, [0, -1]])


def test_peaks_are_ranked_and_ripples_are_none():
    energy = torch.tensor([0.0, 5, 4.8, 5.1, 2, 9, 1, 3, 0])
    assert peaks(energy) == [5, 3, 7]
    assert peaks(energy, prominence=2.5) == [5, 3]
    assert peaks(torch.tensor([0.0, 1, 2, 3])) == []


def test_path_of_a_route_has_the_least_action_it_can_have(butane):
    """S within 0.5 % of sum |dU| / 2kT: the trapezoidal rule on 15 images a half errs by 0.1 %, the string by 0.3 %."""
    molecule = butane.molecule
    ends = torch.stack((butane.x["gauche"], butane.x["gauche_minus"]))
    result = route_search(molecule, ends, 1, SearchSettings(attempts=8, most_rounds=1))
    route, network = result.routes[0], result.network
    path = pinned_path(molecule, network, route, kt=2.494, images=60)
    assert path.bound == pytest.approx(2 * (10.47 + 13.755) / (2 * 2.494), abs=0.01)
    assert path.action == pytest.approx(path.bound, rel=5e-3)
    assert len(path.x) == 60
    assert path.largest_jump < 1.02
    expected = [network.minima[i].energy for i in route.minima]
    assert path.energy[list(path.pinned[::2])].tolist() == pytest.approx(expected, abs=1e-6)
    tops = [network.saddles[k].energy for k in route.saddles]
    assert path.energy[list(path.pinned[1::2])].tolist() == pytest.approx(tops, abs=1e-6)
    assert float(path.energy.max()) <= max(tops) + 1e-6
    assert molecule.equivalence.same(path.x[-1], network.minima[result.end].x, (0.0, 0.0)) is not None


def test_path_has_as_many_images_as_asked_for_but_never_fewer_than_its_halves_need(butane):
    ends = torch.stack((butane.x["gauche"], butane.x["gauche_minus"]))
    result = route_search(butane.molecule, ends, 1, SearchSettings(attempts=8, most_rounds=1))
    route = result.routes[0]
    assert least_images(route) == 9
    for wanted, got in ((5, 9), (9, 9), (14, 14)):
        path = pinned_path(butane.molecule, result.network, route, kt=2.494, images=wanted)
        assert len(path.x) == got
        assert len(path.pinned) == 2 * len(route.saddles) + 1
        assert path.pinned[-1] == got - 1


def test_gaps_are_shared_out_by_length():
    assert shared_out(12, [1.0, 3.0, 2.0], least=1) == [2, 6, 4]
    assert shared_out(7, [1e-3, 1.0], least=2) == [2, 5]
    assert sum(shared_out(99, [0.3, 1.7, 0.9, 2.2], least=2)) == 99

"""The energy distance, and the verdict on a field between snapshots."""

import math

import pytest
import torch

from tpsctl.training.quality.arrival import SnapshotArrival, TransportVerdict, arrival, energy_distance, features, split


def test_energy_distance_of_two_points_is_twice_their_distance():
    a, b = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert energy_distance(a, b) == pytest.approx(10.0, rel=1e-12)
    assert energy_distance(b, b) == 0


def test_energy_distance_of_shifted_gaussians_has_its_closed_form(generator):
    """x - y is Gaussian with variance 2 and mean m; 4000 points leave a sampling error of about 0.01."""
    m = 1.5
    a, b = torch.randn(2, 4000, 1, generator=generator, dtype=torch.float64)
    between = 2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)
    expected = 2 * between - 2 * 2 / math.sqrt(math.pi)
    assert energy_distance(a, b + m) == pytest.approx(expected, abs=0.04)


def test_features_of_a_molecule_do_not_change_when_it_is_turned(generator):
    x = torch.randn(5, 6, 3, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(features(x @ turn.T + 1.0), features(x))
    one = torch.randn(5, 1, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(features(one), one.flatten(1))


def test_frames_that_arrive_are_told_from_frames_that_stand_still(generator):
    first, there, carried = torch.randn(3, 400, 1, 2, generator=generator, dtype=torch.float64)
    found = arrival(carried + 4, there + 4, first, 7.0)
    assert (found.frames, found.time_ps) == (200, 7.0)
    assert found.is_sound
    assert found.unmoved_nm > 20 * found.distance_nm
    still = arrival(first, there + 4, first, 7.0)
    assert not still.is_sound
    assert still.distance_nm == pytest.approx(still.unmoved_nm)


def test_the_words_name_the_worst_snapshot():
    good, bad = SnapshotArrival(1.0, 100, 0.01, 0.01, 1.0), SnapshotArrival(2.0, 100, 0.5, 0.01, 1.5)
    assert TransportVerdict((good,)).words.startswith("carries the first snapshot to all others")
    verdict = TransportVerdict((bad, good))
    assert not verdict.is_fit
    assert verdict.words.startswith("do not use: carried frames arrive 0.5 nm from the snapshot at 2 ps")
    assert verdict.to_dict()["arrivals"][0]["time_ps"] == 2.0


def test_a_fifth_of_each_snapshot_is_held_out(generator):
    frames = [torch.arange(50.0).view(50, 1, 1), torch.arange(4.0).view(4, 1, 1)]
    kept, held_out = split(frames, generator)
    assert [len(x) for x in kept] == [40, 4]
    assert [len(x) for x in held_out] == [10, 4]
    assert sorted(torch.cat([kept[0], held_out[0]]).flatten().tolist()) == list(range(50))

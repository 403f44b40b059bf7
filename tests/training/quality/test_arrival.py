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


def test_weighted_frames_are_as_far_as_repeated_ones(generator):
    a, b = torch.randn(6, 2, generator=generator, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    times = torch.tensor([1, 2, 3, 1, 1, 4])
    repeated = a.repeat_interleave(times, dim=0)
    assert energy_distance(a, b, times.double().log()) == pytest.approx(energy_distance(repeated, b), rel=1e-12)


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


def test_frames_with_the_right_weights_arrive_and_with_equal_ones_do_not(generator):
    """N(0, 1) with the weights exp(x - 1/2) is N(1, 1); its effective size is exp(-1) and the mean weight 1."""
    first, there = torch.randn(2, 4000, 1, 1, generator=generator, dtype=torch.float64)
    log_weights = first.flatten() - 0.5
    found = arrival(first, there + 1, first, 7.0, log_weights)
    assert found.is_sound
    assert found.effective_size == pytest.approx(0.368, abs=0.08)  # heavy-tailed weights of 2000 frames
    assert found.mass == pytest.approx(1.0, abs=0.12)  # four standard errors
    assert not arrival(first, there + 1, first, 7.0, torch.zeros(4000)).is_sound
    assert TransportVerdict((found,)).words.endswith(
        f"effective size of their weights at least {found.effective_size:.2f}."
    )


def test_weights_that_leave_few_frames_say_nothing(generator):
    first, there = torch.randn(2, 400, 1, 1, generator=generator, dtype=torch.float64)
    found = arrival(first, there, first, 7.0, 40 * first.flatten())
    assert not found.has_enough_frames
    assert not found.is_sound
    assert "do not use: at 7 ps the weights of 200 carried frames" in TransportVerdict((found,)).words


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

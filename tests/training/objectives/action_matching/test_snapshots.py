"""Tracks through snapshots: which frames are paired, and where points between them lie."""

import pytest
import torch

from tpsctl.networks.snapshot_potential import SnapshotPotential, SnapshotPotentialSizes
from tpsctl.training.objectives.action_matching.snapshots import BetweenSnapshots, paired_tracks


def cloud(shift, generator, count=600):
    return shift + torch.randn(count, 1, 2, generator=generator, dtype=torch.float32)


def test_frames_of_a_shifted_cloud_are_paired_with_their_shifted_neighbors(generator):
    """Pairs at random would have a mean squared distance of |shift|^2 + 4; the least is about |shift|^2."""
    first, second = cloud(0.0, generator), cloud(3.0, generator)
    tracks = paired_tracks([first, second], 512, generator)
    assert tracks.shape == (2, 512, 1, 2)
    squared = float((tracks[1] - tracks[0]).square().sum((1, 2)).mean())
    assert 17 < squared < 19.5
    middle = tracks.mean(0)
    assert float(middle.std(0).mean()) == pytest.approx(1, abs=0.12), "not narrower by the square root of 2"


def test_every_frame_of_a_track_comes_from_its_snapshot(generator):
    snapshots = [cloud(shift, generator, 50) for shift in (0.0, 1.0, 2.0)]
    tracks = paired_tracks(snapshots, 1, generator)
    for frames, of_track in zip(snapshots, tracks, strict=True):
        assert all(bool((frames == frame).all((1, 2)).any()) for frame in of_track)


def test_points_between_snapshots_lie_on_straight_lines(generator):
    """Snapshots at 0, 0.2 and 1 whose frames are 0, 1 and 5 in every coordinate: a point at t has 5 t."""
    tracks = torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1, 1).expand(3, 4, 1, 2)
    t = torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0])
    first, middle, last = BetweenSnapshots(tracks, (0.0, 0.2, 1.0)).draw(t, generator)
    torch.testing.assert_close(middle, (5 * t).view(-1, 1, 1).expand(5, 1, 2))
    assert float(first.abs().max()) == 0
    assert float(last.min()) == 5


def test_the_potential_of_a_molecule_does_not_change_when_it_is_moved_and_turned(generator):
    network = SnapshotPotential(SnapshotPotentialSizes(4, 3, 8, 3))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    x, t = torch.randn(6, 4, 3, generator=generator), torch.rand(6, generator=generator)
    network.fit_features(x)
    assert network.features(x).shape == (6, 6)
    assert float(((network.features(x) - network.mean) / network.spread).mean().abs()) < 1e-12
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    torch.testing.assert_close(network(x @ turn + 2.0, t), network(x, t), rtol=1e-10, atol=1e-10)


def test_the_coordinates_of_one_bead_have_one_spread(generator):
    network = SnapshotPotential(SnapshotPotentialSizes(1, 2, 8, 3))
    network.fit_features(torch.randn(100, 1, 2, generator=generator) * torch.tensor([1.0, 5.0]))
    assert float(network.spread[0]) == float(network.spread[1])

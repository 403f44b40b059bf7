"""`tpsctl shoot --ensemble` on a model potential: files, a stop on the way, and a start that joins nothing."""

import csv

import pytest

from tpsctl.errors import Interrupted, TpsctlError
from tpsctl.jobs.shard import Shard
from tpsctl.progress import Progress
from tpsctl.workflows.shoot import ensemble
from tpsctl.workflows.shoot.ensemble import OUTCOMES, ChainOfPaths, EnsembleRounds
from tpsctl.workflows.shoot.run import shoot


def table(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_trials_tube_and_distances_are_written_and_agree(run, few):
    manifest = shoot(few(run), Progress())
    found, folder = manifest["ensemble"], run / "ensemble"
    trials = table(folder / "trials.csv")
    counting = [row for row in trials if row["counts"] == "true"]
    assert len(trials) == found["trials"] == sum(found["outcomes"].values())
    assert sum(row["outcome"] == "accepted" for row in counting) == found["accepted"] >= 3
    lengths = [float(row["length_ps"]) for row in counting]
    assert found["length_ps"]["mean"] == pytest.approx(sum(lengths) / len(lengths), rel=1e-12)
    tube, distances = table(folder / "tube.csv"), {row["path"]: row for row in table(folder / "distances.csv")}
    assert set(distances) == {"the path", "straight line"}
    inner = [float(row["the_path_in_spreads"]) for row in tube]
    assert float(distances["the path"]["mean_distance_in_spreads"]) == pytest.approx(sum(inner) / len(inner), rel=1e-12)
    assert "mean distance from the axis" in manifest["verdict"]


def test_an_ensemble_that_is_stopped_goes_on_and_shards_share_it(run, few, monkeypatch, tmp_path):
    shoot(few(run), Progress())
    real, done = EnsembleRounds.run, []

    def stop_after_three(rounds, block):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(block)
        return real(rounds, block)

    monkeypatch.setattr(EnsembleRounds, "run", stop_after_three)
    with pytest.raises(Interrupted, match="--ensemble|tpsctl shoot"):
        shoot(few(run, out=tmp_path / "again"), Progress())
    monkeypatch.setattr(EnsembleRounds, "run", real)
    shoot(few(run, out=tmp_path / "again", shard=Shard(2, 2)), Progress())
    shoot(few(run, out=tmp_path / "again"), Progress())
    for name in ("trials.csv", "tube.csv", "distances.csv"):
        assert (tmp_path / "again" / name).read_text() == (run / "ensemble" / name).read_text()


def test_a_start_that_joins_nothing_is_refused(run, few):
    with pytest.raises(TpsctlError, match="no trajectory from the start joins A and B"):
        shoot(few(run, physics={"longest_ps": 0.05}), Progress())


def test_a_path_counts_once_for_every_trial_that_it_survives(monkeypatch):
    """Ten trials, two of burn-in: the path of trial 1 counts twice, that of trial 4 six times."""
    import torch

    monkeypatch.setattr(ensemble, "BURN_IN", 2)
    accepted, same = 0, 1
    assert OUTCOMES[accepted] == "accepted"
    chain = ChainOfPaths()
    chain.add(
        {
            "present": torch.zeros(3, 1, 1),
            "features": torch.tensor([[0.0], [1.0], [1.0], [4.0]]),
            "feature_frames": torch.tensor([1, 2, 1]),
            "outcome": torch.tensor([same, accepted, same, same, accepted, same, same, same, same, same]),
            "frames": torch.tensor([3] * 10),
        }
    )
    assert chain.weights == [2.0, 6.0]
    assert [path.flatten().tolist() for path in chain.paths] == [[1.0, 1.0], [4.0]]
    assert chain.accepted == 1

"""Files of state: exactly what was written, or an error."""

import pytest
import torch

from tpsctl.errors import OutputError, StateError
from tpsctl.jobs.snapshots import Snapshots
from tpsctl.jobs.store import read_state, write_state

TENSORS = {
    "x": torch.tensor([[1.0, -0.0], [torch.nan, torch.inf]]),
    "flag": torch.tensor([True, False]),
    "step": torch.tensor(7),
    "none": torch.empty(0, 3),
    "view": torch.arange(6.0).view(2, 3).T,
}


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert torch.equal(one[name].nan_to_num(nan=9e9), other[name].nan_to_num(nan=9e9))


def test_a_state_is_read_as_it_was_written(tmp_path):
    write_state(tmp_path / "a.safetensors", TENSORS, {"text": "ü", "list": [1, None]})
    tensors, facts = read_state(tmp_path / "a.safetensors")
    same(tensors, TENSORS)
    assert facts == {"text": "ü", "list": [1, None]}


@pytest.mark.parametrize("at", [0, 9, 60, -20, -1])
def test_one_changed_byte_is_found(tmp_path, at):
    file = tmp_path / "a.safetensors"
    write_state(file, TENSORS, {"text": "abc"})
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(StateError, match=r"a\.safetensors: "):
        read_state(file)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_a_truncated_file_is_found(tmp_path, keep):
    file = tmp_path / "a.safetensors"
    write_state(file, TENSORS, {})
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(StateError, match="cannot be read"):
        read_state(file)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(StateError):
        read_state(tmp_path / "none")


@pytest.fixture
def snapshots(tmp_path):
    said = []
    made = Snapshots(tmp_path, "running-00000", "aa", every_s=1e9, say=said.append)
    for step in range(4):
        made.save({"step": torch.tensor(step)}, {})
    made.said = said
    return made


def test_the_last_two_snapshots_are_kept(snapshots, tmp_path):
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "running-00000-00000003.safetensors",
        "running-00000-00000004.safetensors",
    ]
    assert int(snapshots.newest()[0]["step"]) == 3


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_snapshot_gives_way_to_the_one_before_with_a_message(snapshots, tmp_path, damage):
    file = tmp_path / "running-00000-00000004.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 255
    file.write_bytes({"truncate": data[:-3], "flip": data, "empty": b""}[damage])
    assert int(snapshots.newest()[0]["step"]) == 2
    assert "Going back to the snapshot before it" in snapshots.said[0]
    snapshots.save({"step": torch.tensor(9)}, {})
    assert int(snapshots.newest()[0]["step"]) == 9


def test_snapshots_of_another_run_or_batch_are_not_taken(snapshots, tmp_path):
    for name, digest in (("running-00001", "aa"), ("running-00000", "bb")):
        assert Snapshots(tmp_path, name, digest, every_s=1, say=print).newest() is None


def test_a_snapshot_goes_through_the_scratch_folder_and_leaves_nothing_there(tmp_path):
    (tmp_path / "scratch").mkdir()
    made = Snapshots(tmp_path / "state", "x", "aa", every_s=1, say=print, scratch=tmp_path / "scratch")
    made.save(TENSORS, {})
    same(made.newest()[0], TENSORS)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_snapshot_that_cannot_be_written_leaves_those_before_it(snapshots, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match=r"running-00000-00000005\.safetensors: cannot be written \(No space left"):
        snapshots.save({"step": torch.tensor(4)}, {})
    monkeypatch.undo()
    assert int(snapshots.newest()[0]["step"]) == 3
    assert len(list(tmp_path.iterdir())) == 2

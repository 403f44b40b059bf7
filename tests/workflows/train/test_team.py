"""Two processes train one model, as torchrun would start them; on the CPU, with gloo."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tpsctl.errors import DataError
from tpsctl.training.objectives.points import PointBatch
from tpsctl.training.targets import NoisedFrames
from tpsctl.training.team import Team


def started(recipe, out, *words):
    """Both processes of a team, whose output is merged."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tpsctl", "train", str(recipe), "--out", str(out), "--threads", "1", *words]
    for rank in range(2):
        place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in place.items()}
        yield subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(processes):
    """Exit codes and texts."""
    texts = [process.communicate(timeout=600)[0] for process in processes]
    return [process.returncode for process in processes], texts


def test_two_processes_train_the_model_of_one(recipe, run, tmp_path):
    changes = ["model.network.kind=chain_energy", "model.smallest_width_nm=0.001", "model.largest_width_nm=1"]
    alone = run(recipe, *changes)
    words = [word for change in changes for word in ("--set", change)]
    codes, texts = ended(list(started(recipe, tmp_path / "team" / "x.safetensors", *words)))
    assert codes in ([0, 0], [3, 0]), texts  # the first process judges the model, which 12 steps leave unfit
    assert "checkpoint: " in texts[0], "the first process says the result"
    assert "checkpoint: " not in texts[1]
    found, expected = load_file(tmp_path / "team" / "x.safetensors"), load_file(alone["file"])
    for name, value in expected.items():  # 12 steps of Adam, whose first ones amplify rounding of small gradients
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
def test_a_signal_to_all_ends_all_and_the_first_saves(recipe, tmp_path):
    processes = list(started(recipe, tmp_path / "team" / "x.safetensors", "--set", "optimize.steps=10000000"))
    snapshots = tmp_path / "team" / "x.safetensors.training"
    end = time.monotonic() + 300
    while not list(snapshots.glob("training-*.safetensors")):  # written when the preparation is done
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(1)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    codes, texts = ended(processes)
    assert time.monotonic() - began < 10
    assert codes == [143, 143], texts
    assert "state saved" in texts[0]


def test_a_batch_is_shared_evenly_or_not_at_all():
    batch = NoisedFrames(torch.rand(6, 4, 3), torch.rand(6), torch.rand(6, 4, 3), torch.rand(6))
    parts = [Team(rank, 3).part_of(batch) for rank in range(3)]
    assert torch.equal(torch.stack([part.sigma for part in parts], 1).flatten(), batch.sigma)
    with pytest.raises(DataError, match="got 6, expected a multiple of the number of processes, 4"):
        Team(1, 4).part_of(batch)
    with pytest.raises(DataError, match="runs in one process"):
        Team(0, 2).part_of(PointBatch(torch.rand(4, 2), torch.rand(4, 2), torch.rand(4)))


def test_a_process_on_its_own_has_no_team(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert Team.joined(gpus=False) is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Team.joined(gpus=False) is None

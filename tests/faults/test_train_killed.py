"""`tpsctl train` killed at random moments: it goes on, and the checkpoint is that of an unbroken training."""

import random
import signal
import time

import pytest
from safetensors.numpy import load_file

POTENTIAL = """\
version: 1
name: points
seed: 1
potential: {kind: mueller_brown, temperature_k: 120.27, samples: 2000}
model: {kind: diffusion, levels: 16, hidden: 16}
optimize: {steps: 60, batch: 64, learning_rate: 1e-3}
output: {checkpoint: out/points.safetensors}
"""
MOLECULE = """\
version: 1
name: molecule
seed: 1
data: {kind: dataset, dataset: data.npz, held_out: 1}
model: {kind: diffusion, levels: 2, hidden: 8, layers: 1, embedding: 3}
optimize: {steps: 40, batch: 16, linear_samples: 500}
output: {checkpoint: out/prior.safetensors}
"""


@pytest.fixture
def points(tmp_path):
    file = tmp_path / "points.yaml"
    file.write_text(POTENTIAL)
    return file


def campaign(start, recipe, tmp_path, record_property, kills, longest_s=None):
    """Trainings, killed until so many kills are done; all results are compared."""

    def train(out, *words):
        return start("train", recipe, "--out", out, "--threads", 1, "--save-every", 0, *words)

    for name in ("whole", "again"):  # the first one fills the disk cache
        began = time.monotonic()
        done = train(tmp_path / name / "x.safetensors")
        assert done.wait() == 0, done.text
        seconds = time.monotonic() - began
    expected, chance, done, runs = load_file(tmp_path / "whole" / "x.safetensors"), random.Random(1), 0, 0
    while done < kills:
        out = tmp_path / f"run_{runs}" / "x.safetensors"
        for _ in range(kills - done):
            running = train(out)
            code = running.kill_after(chance.uniform(0, longest_s or seconds))
            if code >= 0:
                assert code == 0, running.text
                break
            done += 1
        last = train(out)
        assert last.wait() == 0, last.text
        found = load_file(out)
        assert found.keys() == expected.keys()
        assert all((found[name] == expected[name]).all() for name in expected)
        assert {p.name for p in out.parent.iterdir()} == {"x.safetensors", "x_report"}
        runs += 1
    record_property("kills", done)
    record_property("runs", runs)
    record_property("seconds_unbroken", round(seconds, 1))


def test_a_training_on_points_killed_three_times(start, points, tmp_path, record_property):
    campaign(start, points, tmp_path, record_property, kills=3)


@pytest.mark.slow
@pytest.mark.campaign
def test_a_training_on_points_killed_twenty_times(start, points, tmp_path, record_property):
    campaign(start, points, tmp_path, record_property, kills=20, longest_s=4.0)


@pytest.mark.slow
@pytest.mark.campaign
def test_a_training_on_a_molecule_killed_ten_times(start, peroxide, tmp_path, record_property):
    recipe = dataset(peroxide, tmp_path)
    campaign(start, recipe, tmp_path, record_property, kills=10)


@pytest.mark.parametrize(
    ("network", "phase", "seen", "saved"),
    [
        ("internal_energy", "data", ": train ", False),
        ("internal_energy", "preparation", "preparation ...", True),
        ("internal_energy", "training", "training ...", True),
        ("chain_energy", "preparation", "preparation ...", True),
        ("transformer_energy", "training", "training ...", True),
    ],
)
def test_sigterm_ends_every_phase_of_a_training_within_ten_seconds(
    start, peroxide, tmp_path, network, phase, seen, saved
):
    """The linear fit would last minutes at every width, and the training hours."""
    recipe, out = dataset(peroxide, tmp_path), tmp_path / "out" / "x.safetensors"
    endless = {"preparation": "optimize.linear_samples=2000000", "training": "optimize.steps=10000000"}
    chosen = [endless.get(phase, "seed=2"), f"model.network.kind={network}", "model.embedding=auto"]
    changes = [word for change in chosen for word in ("--set", change)]
    running = start("train", recipe, "--out", out, "--threads", 1, *changes)
    running.wait_for(seen)
    time.sleep(3.0 if saved else 0.0)  # the fit, or the steps, are under way
    began = time.monotonic()
    assert running.kill_after(0, signal.SIGTERM) == 143, running.text
    assert time.monotonic() - began < 10, running.text
    assert not out.exists()
    states = list((tmp_path / "out").glob("x.safetensors.training/training-*.safetensors"))
    assert bool(states) == saved, running.text
    assert ("state saved" in running.text) == saved


def dataset(peroxide, tmp_path):
    """A recipe of a training with forces, on 300 frames of H-O-O-H."""
    import torch

    from tpsctl.simulation.dataset import Dataset

    x, scores = peroxide.frames(300)
    kt = 2.5
    Dataset(
        topology=peroxide.topology,
        temperature_k=kt / 0.00831446261815324,
        positions=x.float(),
        forces=(kt * scores).float(),
        energies=kt * peroxide.energy(x),
        bias_energies=torch.zeros(300, dtype=torch.float64),
        trajectories=torch.arange(300) // 100,
        times_ps=(torch.arange(300) % 100).double(),
        bias=None,
        settings={"structure": "peroxide"},
    ).save(tmp_path / "data.npz")
    file = tmp_path / "molecule.yaml"
    file.write_text(MOLECULE)
    return file

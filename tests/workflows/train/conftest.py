"""Trainings on a molecule of four atoms: a recipe beside its data, a finished one, one that stopped half way.

A training takes a second or two, so the last two are done once; every test gets a copy of the folder of its own.
"""

import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tpsctl.errors import Interrupted
from tpsctl.progress import Progress
from tpsctl.recipe import train as sections
from tpsctl.recipe.loader import load_recipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.workflows.train.run import TrainOptions, train_recipe

RECIPE = """\
version: 1
name: peroxide
seed: 3
data: {kind: dataset, dataset: data.npz, held_out: 1}
model: {kind: diffusion, levels: 2, hidden: 8, layers: 1, embedding: 3}
optimize: {steps: 12, batch: 16, linear_samples: 500}
output: {checkpoint: out/prior.safetensors, licence: CC-BY-4.0}
"""


class Recorder(Progress):
    """Keeps what is said, and raises a signal where it is told to: after so many steps of a task."""

    def __init__(self, *, signal_at=None, number=signal.SIGTERM):
        self.said, self.signal_at, self.number, self.texts = [], signal_at, number, []

    def say(self, text):
        self.said.append(text)

    def task(self, name, total):
        @contextmanager
        def task():
            def update(done, text):
                self.texts.append(f"{name} {done}/{total} {text}")
                if (name, done) == self.signal_at:
                    signal.raise_signal(self.number)

            yield update

        return task()


def run_recipe(recipe, *assignments, progress=None, **options):
    loaded = load_recipe(recipe, sections.TrainRecipe, assignments)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return train_recipe(loaded, TrainOptions(threads=1, **options), progress or Recorder())
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="session", autouse=True)
def _few_structures_are_judged():
    """The judgement of a tiny model looks at few structures, so that tests take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FRAMES", 100), ("_RELAXED", 4), ("_RESIDUALS", 4), ("_POSTERIORS", 2)):
            patch.setattr(f"tpsctl.workflows.train.judge.{name}", value)
        patch.setattr("tpsctl.workflows.train.judge._SAMPLES", 50)
        patch.setattr("tpsctl.workflows.train.judge._SAMPLER_STEPS", 4)
        yield


@pytest.fixture(autouse=True)
def _as_in_production():
    """float32 by default; the number of threads is put back, and the fixture of all tests puts the dtype back."""
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def run():
    """`run(recipe file, *assignments, progress=None, **options)` trains and gives the card."""
    return run_recipe


@pytest.fixture(scope="session")
def recorder():
    return Recorder


@pytest.fixture(scope="session")
def beside(peroxide, tmp_path_factory) -> Path:
    """A folder with the recipe and a data set of three trajectories."""
    folder = tmp_path_factory.mktemp("recipe")
    with _float64():
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
        ).save(folder / "data.npz")
    (folder / "train.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def finished_once(beside, tmp_path_factory):
    folder = shutil.copytree(beside, tmp_path_factory.mktemp("finished") / "x")
    progress = Recorder()
    return SimpleNamespace(folder=folder, card=run_recipe(folder / "train.yaml", progress=progress), progress=progress)


@pytest.fixture(scope="session")
def stopped_once(beside, tmp_path_factory):
    folder = shutil.copytree(beside, tmp_path_factory.mktemp("stopped") / "x")
    with pytest.raises(Interrupted):
        run_recipe(folder / "train.yaml", progress=Recorder(signal_at=("training", 3)))
    return folder


def copied(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "train.yaml"


@pytest.fixture
def recipe(beside, tmp_path):
    """The recipe file beside its data; nothing is trained."""
    return copied(beside, tmp_path)


@pytest.fixture
def finished(finished_once, tmp_path):
    """The recipe file of a training that is done."""
    return copied(finished_once.folder, tmp_path)


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The recipe file of a training that was stopped after step 3 of 12."""
    return copied(stopped_once, tmp_path)


@contextmanager
def _float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)

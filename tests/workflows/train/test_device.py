"""Where a training computes its steps: what --device means, and that a GPU which cannot be used is never silent."""

import pytest
import torch

from tpsctl.errors import RecipeError
from tpsctl.progress import Progress
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.train import TrainRecipe
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.score.precision import products
from tpsctl.workflows.train import run
from tpsctl.workflows.train.run import TrainOptions, device_of


class Recorder(Progress):
    """Keeps what was said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def molecule(root):
    def of(*assignments):
        return load_recipe(root / "recipes/alanine_dipeptide/train_flow.yaml", TrainRecipe, assignments)

    return of


@pytest.fixture
def points(root):
    return load_recipe(root / "recipes/mueller_brown_train_flow.yaml", TrainPotentialRecipe, [])


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that can be used, as far as the choice can tell; the precision of products is put back."""
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(run, "require_usable", lambda device: None)
    yield
    torch.set_float32_matmul_precision(before)


def chosen(recipe, name="auto"):
    recorder = Recorder()
    return device_of(TrainOptions(device=name), recipe, recorder).type, recorder.said


def test_without_a_gpu_the_cpu_computes(molecule, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen(molecule()) == ("cpu", [])


def test_a_gpu_is_taken_for_molecules_and_not_for_points(molecule, points, gpu):
    assert chosen(molecule())[0] == "cuda"
    assert chosen(points)[0] == "cpu"
    assert chosen(points, "cuda")[0] == "cuda"


def test_a_gpu_that_cannot_be_used_is_said(molecule, monkeypatch):
    monkeypatch.setattr(run, "cuda_fault", lambda: "the driver is too old.")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device, said = chosen(molecule())
    assert device == "cpu"
    assert said == ["this machine has a GPU, but it cannot be used, so the CPU computes: the driver is too old."]


@pytest.mark.parametrize(("precision", "expected"), [("float32", "float32"), ("tf32", "tf32")])
def test_the_recipe_chooses_the_products_on_a_gpu(molecule, gpu, precision, expected):
    chosen(molecule(f"optimize.precision={precision}"), "cuda")
    assert products() == expected


@pytest.mark.parametrize("name", ["quantum", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(molecule, name):
    with pytest.raises(RecipeError, match=f"--device {name}: not usable here"):
        chosen(molecule(), name)

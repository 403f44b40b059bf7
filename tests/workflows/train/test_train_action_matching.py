"""`tpsctl train` and `tpsctl sample` with Action Matching on the Mueller-Brown surface."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.build import load_prior
from tpsctl.checkpoints.native import load_model, read_card, save_model
from tpsctl.cli import app as cli
from tpsctl.errors import PriorError, RecipeError
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.workflows.checkpoints import inspect
from tpsctl.workflows.train.results import tables_of
from tpsctl.workflows.train.run import TrainOptions, train_recipe

TRAIN = """\
version: 1
name: points
seed: 1
potential: {kind: mueller_brown, temperature_k: 120.27, samples: 2000}
model: {kind: action_matching, noise: 0.5, hidden: 16}
optimize: {steps: 60, batch: 64, learning_rate: 5e-3}
output: {checkpoint: points.safetensors}
"""
SAMPLE = """\
version: 1
name: path
seed: 1
endpoints: {start: {position_nm: [23.073, 31.072]}, end: {position_nm: [41.897, 8.463]}}
prior: {kind: checkpoint, checkpoint: points.safetensors, diffusion_time: 0.1}
path: {paths: 1, images: 12, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 1.0, diffusion_nm2_per_ps: 1.0}
optimize: {method: lbfgs, max_steps: 3}
output: {directory: out, trajectories: [pdb], figures: false}
"""


def train(folder, recorder, *assignments):
    (folder / "train.yaml").write_text(TRAIN)
    recipe = load_recipe(folder / "train.yaml", TrainPotentialRecipe, assignments)
    progress = recorder()
    return train_recipe(recipe, TrainOptions(threads=1), progress), progress


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recorder):
    folder = tmp_path_factory.mktemp("trained")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    card, progress = train(folder, recorder)
    torch.set_default_dtype(before)
    return folder, card, progress


def test_the_card_says_what_was_learned_and_how_evenly(trained):
    folder, card, progress = trained
    assert (card["kind"], card["noise"], card["potential"]) == ("action_matching", 0.5, "mueller_brown")
    assert card["network"] == {
        "name": "potential_perceptron",
        "dims": 2,
        "hidden": 16,
        "layers": 5,
        "activation": "swish",
    }
    assert len(card["scale_nm"]) == 1, "one unit of length for all dimensions"
    loss = card["provenance"]["loss"]
    assert set(loss) == {"first_tenth", "last_tenth", "effective_fraction_of_times"}
    assert 0 < loss["effective_fraction_of_times"] <= 1
    assert "effective times" in progress.texts[-1]
    rows = dict(tables_of(card)[0].rows)
    assert rows["effective fraction of a batch's times"] == f"{loss['effective_fraction_of_times']:.3f}"


def test_the_prior_has_scores_energies_and_samples(trained, generator):
    prior = load_prior(trained[0] / "points.safetensors").to(device="cpu", dtype=torch.float64)
    assert (prior.kind, prior.conservative, prior.temperature_k) == ("action_matching", True, 120.27)
    x = torch.tensor([[[25.0, 30.0]], [[35.0, 12.0]]], dtype=torch.float64)
    step = 1e-4 * torch.ones_like(x)
    slope = (prior.log_density(x + step, 0.2) - prior.log_density(x - step, 0.2)) / 2e-4
    torch.testing.assert_close(slope, prior.at(0.2)(x).sum((1, 2)), rtol=1e-5, atol=1e-8)  # the square of the step
    samples = prior.sample(500, generator, steps=50)
    assert float((samples.mean((0, 1)) - prior.units.offset).norm()) < 3, "nm, of a spread of 10"


def test_inspect_finds_it_sound(trained):
    report = inspect(trained[0] / "points.safetensors")
    assert report["noise"] == 0.5
    assert [test["check"] for test in report["self_test"]] == [
        "finite score",
        "score against the slope of the energy",
        "noise seen in pure noise",
    ]
    assert all(test["passed"] for test in report["self_test"][:2])


def test_paths_are_sampled_with_it(trained):
    folder = trained[0]
    (folder / "sample.yaml").write_text(SAMPLE)
    result = CliRunner().invoke(cli.app, ["sample", str(folder / "sample.yaml"), "--threads", "1", "--device", "cpu"])
    assert result.exit_code in (0, 3), result.output
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["produced"] == 1
    assert manifest["paths"][0]["action"]["total"] > 0


@pytest.mark.parametrize("noise", [float("nan"), -1.0])
def test_a_checkpoint_with_a_noise_that_cannot_be_is_refused(trained, noise, tmp_path):
    model = load_model(trained[0] / "points.safetensors")
    model.description.facts["noise"] = noise
    save_model(tmp_path / "bad.safetensors", model)
    with pytest.raises(PriorError, match="noise"):
        load_prior(tmp_path / "bad.safetensors")


def test_a_card_without_its_noise_is_called_damaged(trained, tmp_path, monkeypatch):
    card = read_card(trained[0] / "points.safetensors")
    assert card.pop("noise") == 0.5
    monkeypatch.setattr("tpsctl.checkpoints.native.read_card", lambda path: card)
    with pytest.raises(PriorError, match="incomplete or damaged"):
        load_model(trained[0] / "points.safetensors")


def test_weights_that_are_all_zero_are_refused(tmp_path):
    (tmp_path / "train.yaml").write_text(TRAIN)
    with pytest.raises(RecipeError, match="both 0; at least one of them must be above 0"):
        load_recipe(
            tmp_path / "train.yaml", TrainPotentialRecipe, ["model.weight_at_noise=0", "model.weight_at_data=0"]
        )


def test_plain_and_weighted_action_matching_can_be_trained(tmp_path, recorder):
    settings = ("model.noise=0", "model.weight_at_data=0", "optimize.steps=5", "optimize.small_times=0")
    card, _ = train(tmp_path, recorder, *settings)
    assert card["noise"] == 0
    assert load_prior(tmp_path / "points.safetensors").output.noise == 0

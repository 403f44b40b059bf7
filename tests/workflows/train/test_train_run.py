"""`tpsctl train` on a molecule of four atoms: the checkpoint and its card, what is refused, what is printed."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.build import load_prior
from tpsctl.checkpoints.native import load_model, read_card
from tpsctl.cli import app as cli
from tpsctl.errors import DataError, OutputError, PriorError, RecipeError
from tpsctl.recipe import train as sections
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.score.schedule import (
    Flow,
    LinearVariancePreserving,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.objectives.internal_energy import InternalEnergySettings
from tpsctl.workflows.train.networks.internal_energy import TrainedInternalEnergy
from tpsctl.workflows.train.results import tables_of
from tpsctl.workflows.train.run import TrainOptions, train_recipe


def require_full_card(card, file):
    prior = load_prior(file)
    assert card == read_card(file) | {"file": str(file)}
    assert prior.kind == card["kind"]
    assert (card["name"], card["licence"]) == ("peroxide", "CC-BY-4.0")
    assert card["data"]["forces_used"] is True
    assert (card["data"]["training_frames"], card["data"]["held_out_frames"]) == (200, 100)
    assert card["recipe"]["optimize"]["steps"] == 12
    assert card["recipe"]["data"]["dataset"] == "data.npz", "a card names no folders"
    assert len(card["inputs"]["data.dataset"]["sha256"]) == 64
    assert {"tpsctl", "torch", "python"} <= set(card["versions"])
    quality = card["metrics"]["held_out_torque_r2"]
    assert quality["reference"] == "physical forces"
    assert list(quality["by_width_nm"]) == ["0.00025", "0.0005", "0.001", "0.002", "0.004"]
    assert set(quality["by_width_nm"]["0.001"]) == {"A:PER1:O1-A:PER1:O2"}
    assert str(file.parent) not in json.dumps(read_card(file))
    assert {p.name for p in file.parent.iterdir()} == {file.name, "prior_report"}, "nothing else is left beside it"
    require_report(file.with_name("prior_report"), steps=12)
    require_verdict(card)
    assert torch.isfinite(prior.sample(2, torch.Generator().manual_seed(0), steps=3)).all()


def require_log_densities(folder):
    """The relative log-density of `tpsctl inspect --logp`, which a rotation does not change."""
    prior = load_prior(folder / "out" / "prior.safetensors").to(device="cpu", dtype=torch.float64)
    x = Dataset.load(folder / "data.npz").positions[:2].double()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    turn = turn * torch.sign(torch.linalg.det(turn))
    found, turned = (prior.log_density(structures, prior.time_of(0.05)) for structures in (x, x @ turn))
    torch.testing.assert_close(turned, found, rtol=1e-8, atol=1e-8)


def require_report(folder, *, steps):
    lines = (folder / "log.csv").read_text().splitlines()
    assert lines[0] == "step,learning_rate,loss,held_out_loss"
    assert [line.split(",")[0] for line in lines[1:]] == [str(n) for n in range(1, steps + 1)]
    assert all(float(value) > 0 for line in lines[1:] for value in line.split(","))
    names = ("learning_curve", "sample_distributions")
    figures = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf")}
    assert {file.name for file in folder.iterdir()} == {"log.csv", *figures}


def require_verdict(card):
    verdict = card["verdict"]
    assert isinstance(verdict["fit_for_paths"], bool)
    assert [row["width_nm"] for row in verdict["by_width"]] == [0.00025 * 2**n for n in range(9)]
    assert {row["torque_r2"] is None for row in verdict["by_width"]} == {False}
    assert set(verdict["samples"]["divergence"]) == {"bonds", "angles", "torsions"}
    assert ("diffusion_times" in card) == any(not row["faults"] for row in verdict["by_width"])


def test_a_recipe_becomes_a_checkpoint_with_a_full_card(finished_once):
    require_full_card(finished_once.card, finished_once.folder / "out" / "prior.safetensors")
    progress = finished_once.progress
    assert progress.said == [
        "data.npz: 200 frames to learn from, 100 held out; 4 atoms, with forces; network internal_energy",
        "judging the model ...",
    ]
    assert progress.texts[0] == "preparation 1/8 tables of the targets"
    assert progress.texts[5].startswith("preparation 6/8 linear fit at 0.00025 nm explains 0.")
    assert progress.texts[-1].startswith("training 12/12 loss ")
    assert "steps/s" in progress.texts[-1]


def test_flow_matching_becomes_one_too(recipe, run, tmp_path):
    card = run(recipe, "model.kind=flow_matching", "model.uniform_time=0.5")
    assert (card["kind"], card["objective"]) == ("flow_matching", "velocity regression")
    assert load_model(tmp_path / "out" / "prior.safetensors").description.notes == ()
    require_full_card(card, tmp_path / "out" / "prior.safetensors")


@pytest.mark.parametrize("weight", ["likelihood", "simple"])
def test_score_matching_becomes_one_too(recipe, run, tmp_path, weight):
    card = run(recipe, "model.kind=score_matching", f"model.weight={weight}", "model.times=uniform")
    assert (card["kind"], card["schedule"]["name"]) == ("score_matching", "linear_variance_preserving")
    assert card["objective"] == "score matching with the weights of a schedule"
    require_full_card(card, tmp_path / "out" / "prior.safetensors")
    require_log_densities(tmp_path)


@pytest.mark.parametrize("noise", [0, 0.5])
def test_action_matching_becomes_one_whose_losses_may_be_negative(recipe, run, tmp_path, noise):
    card = run(recipe, "model.kind=action_matching", f"model.noise={noise}")
    file = tmp_path / "out" / "prior.safetensors"
    assert (card["kind"], card["objective"]) == ("action_matching", "Action Matching")
    assert card["schedule"] == {"name": "flow", "scale": 0.3}
    assert 0 < card["metrics"]["effective_fraction_of_times"] <= 1
    assert "effective fraction of a batch's times 0." in tables_of(card)[0].notes[1]
    require_verdict(card)
    assert load_prior(file).kind == "action_matching"
    require_log_densities(tmp_path)


def test_action_matching_has_no_errors_of_torques(recipe, run):
    with pytest.raises(RecipeError, match=r"optimize\.torsion_weight is not for model\.kind action_matching"):
        run(recipe, "model.kind=action_matching", "optimize.torsion_weight=0.5")
    with pytest.raises(RecipeError, match="weight_at_noise and weight_at_data are both 0"):
        run(recipe, "model.kind=action_matching", "model.weight_at_noise=0", "model.weight_at_data=0")


def test_what_is_there_already_is_not_trained_again(finished, finished_once, run, recorder):
    progress = recorder()
    card = run(finished, progress=progress)
    assert {**card, "file": ""} == {**finished_once.card, "file": ""}
    assert progress.texts == []
    assert "trained by this recipe already; nothing to do" in progress.said[0]


def test_another_recipe_does_not_replace_a_checkpoint_unless_told(finished, run, tmp_path):
    before = (tmp_path / "out" / "prior.safetensors").read_bytes()
    with pytest.raises(RecipeError, match=r"(?s)another training is there.*recipe\.optimize\.steps: 12 there, 13 now"):
        run(finished, "optimize.steps=13")
    assert (tmp_path / "out" / "prior.safetensors").read_bytes() == before
    assert run(finished, "optimize.steps=13", overwrite=True)["recipe"]["optimize"]["steps"] == 13


def test_another_data_set_under_the_same_name_is_another_training(finished, run, tmp_path):
    dataset = Dataset.load(tmp_path / "data.npz")
    dataset.take(torch.arange(299)).save(tmp_path / "data.npz")
    with pytest.raises(RecipeError, match=r"inputs\.data\.dataset\.sha256"):
        run(finished)


def test_a_file_that_is_no_checkpoint_is_not_replaced(recipe, run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prior.safetensors").write_text("my notes")
    with pytest.raises(PriorError, match="not a readable safetensors file"):
        run(recipe)


def test_a_loss_that_is_no_number_stops_the_run(recipe, run):
    """With the largest learning rate that a recipe can have, squares leave float32 within the first steps."""
    with pytest.raises(DataError, match=r"step \d+: the loss is (nan|inf).*Lower optimize\.learning_rate"):
        run(recipe, "optimize.learning_rate=1e30")


def test_a_full_disk_is_said_plainly(recipe, run, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match=r"training-00000001.safetensors: cannot be written \(No space left"):
        run(recipe)


def test_forces_can_be_left_out_and_still_judge(recipe, run):
    card = run(recipe, "data.use_forces=false")
    assert card["data"]["forces_used"] is False
    assert card["metrics"]["held_out_torque_r2"]["reference"] == "physical forces"


# --- points of a model potential ------------------------------------------------------------------

POINTS = """\
version: 1
name: points
seed: 1
potential: {kind: mueller_brown, temperature_k: 120.27, samples: 1000}
model: {kind: KIND, hidden: 16}
optimize: {steps: 300, batch: 128, learning_rate: 1e-3}
output: {checkpoint: out/points.safetensors}
"""


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("diffusion", ""),
        ("flow_matching", ""),
        ("flow_matching", ", conservative: true"),
        ("schroedinger_bridge", ", half_steps: 2"),
        ("score_matching", ""),
        ("score_matching", ", form: implicit, weight: simple, times: uniform, schedule: flow, conservative: true"),
    ],
)
def test_points_become_a_checkpoint(kind, more, tmp_path, recorder):
    file = tmp_path / "points.yaml"
    file.write_text(POINTS.replace("KIND", kind + more))
    loaded, progress = load_recipe(file, TrainPotentialRecipe), recorder()
    card = train_recipe(loaded, TrainOptions(threads=1), progress)
    assert progress.said == ["mueller_brown: 1000 equilibrium points at 120.27 K", "judging the model ..."]
    assert (card["kind"], card["potential"], card["layout"]) == (kind, "mueller_brown", "tpsctl points")
    loss = card["provenance"]["loss"]
    assert loss["last_tenth"] < loss["first_tenth"]
    prior = load_prior(tmp_path / "out" / "points.safetensors")
    assert prior.conservative is ("conservative" in more)
    assert torch.isfinite(prior.sample(3, torch.Generator().manual_seed(0), steps=5)).all()
    assert torch.isfinite(prior.at(0.5)(torch.tensor([[[30.0, 20.0]]]))).all()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"points.safetensors", "points_report"}
    again = recorder()
    assert train_recipe(loaded, TrainOptions(threads=1), again) == card
    assert again.texts == []
    (table,) = tables_of(card)
    assert (table.title, table.rows[0]) == ("points", ["kind", kind])
    other = load_recipe(file, TrainPotentialRecipe, ["seed=2"])
    with pytest.raises(RecipeError, match="(?s)a checkpoint of another training is there.*--overwrite"):
        train_recipe(other, TrainOptions(threads=1), recorder())


def test_small_times_are_not_for_score_matching(tmp_path):
    file = tmp_path / "points.yaml"
    file.write_text(POINTS.replace("KIND", "score_matching"))
    with pytest.raises(RecipeError, match=r"small_times is not for model.kind score_matching"):
        load_recipe(file, TrainPotentialRecipe, ["optimize.small_times=0.3"])


# --- recipe and command line ----------------------------------------------------------------------


def test_defaults_are_those_of_the_objective():
    settings = InternalEnergySettings()
    for name in ("batch", "torsion_weight", "linear_samples"):
        assert sections.OptimizationSection.model_fields[name].default == getattr(settings, name), name


@pytest.mark.parametrize(
    ("assignments", "schedule"),
    [
        ([], VarianceExploding(0.00025, 1.0)),
        (["model.schedule={kind: variance_preserving, scale_nm: 0.4}"], VariancePreserving(0.4)),
        (["model.schedule={kind: linear_variance_preserving}"], LinearVariancePreserving(0.3)),
        (["model.schedule={kind: sub_variance_preserving, scale_nm: 0.4}"], SubVariancePreserving(0.4)),
        (["model.kind=flow_matching", "model.scale_nm=0.2"], Flow(0.2)),
    ],
)
def test_every_schedule_can_be_named(recipe, assignments, schedule):
    assert TrainedInternalEnergy(load_recipe(recipe, sections.TrainRecipe, assignments)).schedule == schedule


def test_the_command_prints_a_table_or_the_card(finished):
    runner = CliRunner()
    result = runner.invoke(cli.app, ["train", str(finished), "--threads", "1"])
    assert result.exit_code == (
        0 if read_card(finished.parent / "out" / "prior.safetensors")["verdict"]["fit_for_paths"] else 3
    )
    assert "R^2 of held-out torques" in result.stdout
    assert "verdict: " in result.stdout
    assert "checkpoint: " in result.stdout
    again = runner.invoke(cli.app, ["train", str(finished), "--json"])
    assert json.loads(again.stdout)["name"] == "peroxide"
    assert runner.invoke(cli.app, ["train", str(finished), "--set", "seed=9"]).exit_code == 2

"""`tpsctl train` on snapshots and `tpsctl sample` through the field between them."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.architectures.snapshot_potential import snapshot_prior
from tpsctl.checkpoints.native import load_model
from tpsctl.cli import app as cli
from tpsctl.errors import DataError, PriorError, RecipeError
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.train_snapshots import TrainSnapshotsRecipe
from tpsctl.score.transport import carry, even_times
from tpsctl.workflows.checkpoints import open_prior
from tpsctl.workflows.train.run import TrainOptions, train_recipe
from tpsctl.workflows.train.snapshots import load_snapshots

TRAIN = """\
version: 1
name: drift
seed: 1
data:
  kind: snapshots
  snapshots: [{file: early.npy, time_ps: 10.0}, {file: late.npy, time_ps: 14.0}]
model: {kind: action_matching, diffusion_nm2_per_ps: 0.01, hidden: 16}
optimize: {steps: 200, batch: 64, learning_rate: 1e-2, average: 0.9, tracks: 512}
output: {checkpoint: field.safetensors}
"""
SAMPLE = """\
version: 1
name: carried
seed: 1
endpoints: {start: {position_nm: [0.0, 0.0]}, end: {position_nm: [1.0, 0.5]}}
prior: {kind: snapshots, checkpoint: field.safetensors}
path: {paths: 1, images: 9, guess: {kind: linear}}
action: {functional: transport, diffusion_nm2_per_ps: 0.01}
optimize: {method: lbfgs, max_steps: 5}
output: {directory: out, trajectories: [pdb], figures: false}
"""
SHIFT = (1.0, 0.5)
"""By how much the cloud moves in 4 ps, nm."""


def write_clouds(folder, spread=0.3):
    rng = np.random.default_rng(0)
    np.save(folder / "early.npy", spread * rng.normal(size=(1000, 2)))
    np.save(folder / "late.npy", spread * rng.normal(size=(1000, 2)) + np.array(SHIFT))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recorder):
    folder, progress = tmp_path_factory.mktemp("snapshots"), recorder()
    write_clouds(folder)
    (folder / "train.yaml").write_text(TRAIN)
    (folder / "sample.yaml").write_text(SAMPLE)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    card = train_recipe(load_recipe(folder / "train.yaml", TrainSnapshotsRecipe), TrainOptions(threads=1), progress)
    torch.set_default_dtype(before)
    return folder, card, progress


def test_the_field_carries_the_first_snapshot_to_the_last(trained, generator):
    """The mean after 4 ps along grad S. Its part for the noise pulls to the middle of the cloud and moves no mean."""
    prior = snapshot_prior(load_model(trained[0] / "field.safetensors")).to(device="cpu", dtype=torch.float64)
    assert (prior.kind, prior.n_beads, prior.n_dims, prior.when.times_ps) == ("snapshots", 1, 2, (10.0, 14.0))
    x = 0.3 * torch.randn(500, 1, 2, generator=generator, dtype=torch.float64)
    found, _ = carry(prior.field, x, even_times(10.0, 14.0, 8))
    mean = found.mean((0, 1))
    assert float((mean - torch.tensor(SHIFT, dtype=torch.float64)).norm()) < 0.1, "of a way of 1.1 nm; a short training"


def test_it_is_said_that_paths_are_transport_maps(trained):
    folder, card, progress = trained
    assert "2 snapshots from 10 to 14 ps with 1000 + 1000 frames of 1 x 2 coordinates" in progress.said[0]
    assert "transport map" in progress.said[0]
    assert "its time is no rate" in card["caveat"]
    runner = CliRunner()
    again = runner.invoke(cli.app, ["train", str(folder / "train.yaml")])
    assert again.exit_code == 0, again.output
    assert "transport map" in again.stdout.replace("\n", " ")
    result = runner.invoke(cli.app, ["sample", str(folder / "sample.yaml"), "--threads", "1", "--device", "cpu"])
    assert result.exit_code in (0, 3), result.output
    assert "transport" in result.output
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert any("its time is no rate" in note for note in manifest["notes"])
    assert manifest["chosen"]["action.dt_ps"]["value"] == 0.5, "4 ps over 8 steps"
    action = manifest["paths"][0]["action"]
    assert action["kinetic"] > 0
    assert action["cross"] != 0, "the change of the field in time is part of the action"


def test_the_verdict_says_whether_frames_arrive(trained):
    """`inspect` shows it, and a field that moves nothing is refused until the recipe accepts it."""
    folder, card, _ = trained
    assert card["verdict"]["fit_for_paths"], card["verdict"]["words"]
    runner = CliRunner()
    seen = runner.invoke(cli.app, ["inspect", str(folder / "field.safetensors")])
    assert seen.exit_code == 0, seen.output
    assert "carries the first snapshot to all others" in seen.stdout.replace("\n", " ")
    still = str(folder / "still.safetensors")
    unfit = runner.invoke(cli.app, ["train", str(folder / "train.yaml"), "--set", "optimize.steps=1", "--out", still])
    assert unfit.exit_code == 3, unfit.output
    assert runner.invoke(cli.app, ["inspect", still]).exit_code == 3
    sample = ["sample", str(folder / "sample.yaml"), "--device", "cpu", "--out", str(folder / "still")]
    sample += ["--set", f"prior.checkpoint={still}"]
    refused = runner.invoke(cli.app, sample)
    assert refused.exit_code == 1, refused.output
    assert "do not use: carried frames arrive" in refused.output.replace("\n", " ")
    accepted = runner.invoke(cli.app, [*sample, "--set", "prior.accept_unfit=true", "--overwrite"])
    assert accepted.exit_code in (0, 3), accepted.output


def test_its_score_is_refused_as_an_equilibrium_prior(trained):
    with pytest.raises(PriorError, match="a field between snapshots"):
        open_prior(trained[0] / "field.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("action.functional=truncated", "need both prior.kind: snapshots and action.functional: transport"),
        ("optimize={method: levenberg_marquardt}", "expected one of adam, lbfgs, sgd"),
        ("optimize={method: auto}", "expected one of adam, lbfgs, sgd"),
    ],
)
def test_a_recipe_that_mixes_fields_and_equilibrium_is_refused(trained, change, message):
    assignments = [change] if "truncated" not in change else ["action={functional: truncated}"]
    with pytest.raises(RecipeError, match=message):
        load_recipe(trained[0] / "sample.yaml", SampleRecipe, assignments)


def test_times_that_do_not_rise_are_refused(trained):
    with pytest.raises(RecipeError, match="snapshot 2 is at 3 ps, not after 10 ps"):
        load_recipe(trained[0] / "train.yaml", TrainSnapshotsRecipe, ["data.snapshots.1.time_ps=3.0"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5,)), "frames by coordinates, in nm"),
        (np.zeros((5, 2), dtype=int), "frames by coordinates, in nm"),
        (np.full((5, 2), np.nan), "finite coordinates"),
        (np.zeros((5, 3)), "different numbers of coordinates"),
        (np.array([{}], dtype=object), "no array of points"),
    ],
)
def test_files_that_are_no_points_are_refused(array, message, tmp_path):
    write_clouds(tmp_path)
    (tmp_path / "train.yaml").write_text(TRAIN)
    np.save(tmp_path / "late.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        load_snapshots(load_recipe(tmp_path / "train.yaml", TrainSnapshotsRecipe).data)


def test_snapshots_of_a_molecule_come_from_trajectories(root, tmp_path):
    folder = root / "recipes" / "alanine_dipeptide"
    (tmp_path / "train.yaml").write_text(
        TRAIN.replace("early.npy", str(folder / "c7eq.pdb"))
        .replace("late.npy", str(folder / "c7ax.pdb"))
        .replace("kind: snapshots", f"kind: snapshots\n  topology: {folder / 'c7eq.pdb'}")
    )
    data = load_snapshots(load_recipe(tmp_path / "train.yaml", TrainSnapshotsRecipe).data)
    assert data.topology.n_atoms == 22
    assert [tuple(frames.shape[1:]) for frames in data.frames] == [(22, 3), (22, 3)]
    assert data.offset_nm == (0.0, 0.0, 0.0)

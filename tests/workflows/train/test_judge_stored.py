"""A verdict that is stored later is the one that the training would have stored."""

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import load_model, read_card, save_model
from tpsctl.cli import app as cli
from tpsctl.errors import PriorError
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.simulation.dataset import Dataset
from tpsctl.workflows.train.judge_stored import judge_stored


def without_verdict(file):
    model = load_model(file)
    facts = {k: v for k, v in model.description.facts.items() if k not in ("verdict", "diffusion_times")}
    save_model(file, replace(model, description=replace(model.description, facts=facts)))


def test_a_checkpoint_without_verdict_gets_that_of_its_training(finished, tmp_path):
    file = tmp_path / "out" / "prior.safetensors"
    before = read_card(file)
    without_verdict(file)
    assert "verdict" not in read_card(file)
    result = CliRunner().invoke(cli.app, ["inspect", str(file), "--judge", str(finished)])
    after = read_card(file)
    assert result.exit_code == (0 if before["verdict"]["fit_for_paths"] else 3), result.output
    assert "fitness for paths by noise width" in result.output
    assert after["verdict"] == before["verdict"]
    assert after.get("diffusion_times") == before.get("diffusion_times")
    assert after["judged"]["recipe"] == "peroxide"
    assert after["judged"]["held_out_torque_r2"] == before["metrics"]["held_out_torque_r2"]
    assert after["judged"]["inputs"] == {"data.dataset": before["inputs"]["data.dataset"]["sha256"]}
    for name, tensor in load_model(file).weights.items():
        assert torch.isfinite(tensor).all(), name


def test_data_of_another_molecule_are_refused_and_nothing_is_written(finished, tmp_path):
    file = tmp_path / "out" / "prior.safetensors"
    data = Dataset.load(tmp_path / "data.npz")
    atoms = (replace(data.topology.atoms[0], name="D1"), *data.topology.atoms[1:])
    replace(data, topology=replace(data.topology, atoms=atoms)).save(tmp_path / "data.npz")
    before = file.read_bytes()
    with pytest.raises(PriorError, match="is for other atoms than the data"):
        judge_stored(file, finished)
    assert file.read_bytes() == before


def test_what_is_no_energy_of_a_molecule_is_refused(recipe, tmp_path):
    network = Perceptron(PerceptronSizes(2, 5, 3, "swish")).float()
    about = ModelDescription("flow_matching", "perceptron", network.sizes.to_dict(), 120.0, scale_nm=(1.0,))
    save_model(tmp_path / "points.safetensors", Model(about, network.state_dict()))
    with pytest.raises(PriorError, match="is not the energy of a molecule"):
        judge_stored(tmp_path / "points.safetensors", recipe)
    with pytest.raises(PriorError, match="only native checkpoints carry a verdict"):
        judge_stored(tmp_path / "points.pt", recipe)

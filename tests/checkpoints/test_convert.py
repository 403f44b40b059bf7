"""Conversion of small state dicts in every precision, and what is left behind where it fails."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tpsctl.cli import app as cli
from tpsctl.workflows.checkpoints import convert, open_prior

FILES = Path(__file__).parent / "precisions"
"""Two-dimensional perceptrons with the names of the published Mueller-Brown network, random weights."""

EVERY = {"double": "float64", "half": "float16", "bf16": "bfloat16"}


def tpsctl(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(("name", "precision"), EVERY.items())
def test_every_precision_is_converted_and_said(tmp_path, name, precision):
    source, target = FILES / f"mb_{name}.pt", tmp_path / "native.safetensors"
    done = tpsctl("convert", source, target, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    stored = "float64" if name == "double" else "float32"
    assert (answer["source_precision"], answer["target_precision"]) == (precision, stored)
    assert answer["scores_differing"] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["native.safetensors"]


@pytest.mark.parametrize("name", EVERY)
def test_no_digit_of_a_weight_is_lost(tmp_path, name):
    convert(FILES / f"mb_{name}.pt", tmp_path / "native.safetensors")
    source = torch.load(FILES / f"mb_{name}.pt", weights_only=True)
    stored = load_file(str(tmp_path / "native.safetensors"))
    for i in range(5):
        assert torch.equal(stored[f"network.layers.{i}.weight"].double(), source[f"fc{i + 1}.weight"].double())


@pytest.mark.parametrize("name", EVERY)
def test_a_score_can_be_had_in_either_precision(name):
    x = torch.tensor([[[25.0, 28.0]], [[40.0, 9.0]]], dtype=torch.float64)
    prior = open_prior(FILES / f"mb_{name}.pt").to(device="cpu", dtype=torch.float64)
    exact = prior.at(0.05)(x)
    single = open_prior(FILES / f"mb_{name}.pt").to(device="cpu", dtype=torch.float32).at(0.05)(x.float())
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5 * float(exact.abs().max()))  # float32


def test_weights_that_are_no_floating_point_numbers_are_refused(tmp_path):
    source = torch.load(FILES / "mb_half.pt", weights_only=True)
    torch.save({name: tensor.to(torch.int32) for name, tensor in source.items()}, tmp_path / "integers.pt")
    done = tpsctl("convert", tmp_path / "integers.pt", tmp_path / "native.safetensors")
    assert done.exit_code == 1
    assert "is int32; weights are float16, bfloat16, float32, float64" in " ".join(done.output.split())
    assert [file.name for file in tmp_path.iterdir()] == ["integers.pt"]


def test_a_failed_conversion_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    """Scores that differ after reading: here because the weights are changed on the way."""
    from tpsctl.checkpoints.model import Model
    from tpsctl.workflows import checkpoints

    def spoiled(path):
        model = load_model(path)
        return Model(model.description, {k: 2 * v for k, v in model.weights.items()}, model.tables)

    load_model = checkpoints.load_model
    monkeypatch.setattr(checkpoints, "load_model", spoiled)
    target = tmp_path / "native.safetensors"
    target.write_bytes(b"what was there")
    done = tpsctl("convert", FILES / "mb_double.pt", target, "--overwrite")
    assert done.exit_code == 1
    assert "scores would differ" in " ".join(done.output.split())
    assert target.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["native.safetensors"]

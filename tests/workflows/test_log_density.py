"""`tpsctl inspect --logp`: points of a model potential and structures of a molecule, by file."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import save_model
from tpsctl.cli import app as cli
from tpsctl.errors import PriorError
from tpsctl.networks.energy_perceptron import EnergyPerceptron
from tpsctl.networks.perceptron import PerceptronSizes
from tpsctl.prior.densities import log_densities
from tpsctl.score.schedule import Flow
from tpsctl.workflows import log_density
from tpsctl.workflows.checkpoints import open_prior


@pytest.fixture
def checkpoint(tmp_path):
    """A small network with random weights: its densities mean nothing, but they exist."""
    network = EnergyPerceptron(PerceptronSizes(2, 4, 3, "swish")).float()
    about = ModelDescription(
        "score_matching", "energy_perceptron", network.sizes.to_dict(), 120.0, (7.0, 9.0), (31.0, 18.0), Flow(), 0.2
    )
    save_model(tmp_path / "points.safetensors", Model(about, network.state_dict()))
    return tmp_path / "points.safetensors"


@pytest.fixture
def few_steps(monkeypatch):
    """Four steps of the ODE instead of 200, where only its place in the report is looked at."""
    monkeypatch.setattr(log_density, "log_densities", lambda *words: log_densities(*words, steps=4))


def test_points_are_given_in_nm_and_the_unit_is_said(checkpoint, few_steps):
    words = ["inspect", str(checkpoint), "--logp", "31,18", "--logp", "25,30", "--diffusion-time", "0.1"]
    report = json.loads(CliRunner().invoke(cli.app, [*words, "--json"]).stdout)["log_density"]
    assert report["unit"] == "nats; normalized: of a density in nm^-2, relative: up to a constant"
    assert [row["structure"] for row in report["structures"]] == ["31,18", "25,30"]
    expected = open_prior(checkpoint).log_density(torch.tensor([[[31.0, 18.0]], [[25.0, 30.0]]]).float(), 0.1)
    assert [row["relative_nats"] for row in report["structures"]] == pytest.approx(expected.tolist(), rel=1e-5)
    printed = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"}).stdout
    assert "log-density at diffusion time 0.1, noise of 0.896 nm" in printed
    assert "exact up to a constant at this time" in printed


def test_structures_are_put_into_the_order_of_the_prior(root, few_steps):
    folder = root / "recipes" / "alanine_dipeptide"
    report = log_density.log_density_report(
        folder / "diffusion.safetensors", [str(folder / name) for name in ("c7eq.pdb", "c7ax.pdb")], None
    )
    assert report["coordinates"] == 63
    assert report["diffusion_time"] == 0  # the smallest time that its verdict allows
    assert len(report["structures"]) == 2
    c7eq, c7ax = (row["relative_nats"] for row in report["structures"])
    assert 0 < c7eq - c7ax < 10  # C7ax lies 5.95 kJ/mol = 2.4 kT higher, and the noise of this time softens both


@pytest.mark.parametrize(
    ("structure", "time", "message"),
    [
        ("1,2,3", 0.1, "has 1 beads in 3 dimensions, the prior is for 1 in 2"),
        ("31,18", 0.001, "Use diffusion_time >="),
    ],
)
def test_what_the_prior_cannot_judge_is_refused(checkpoint, structure, time, message, few_steps):
    with pytest.raises(PriorError, match=message):
        log_density.log_density_report(checkpoint, [structure], time)

"""Butane learned from positions alone, through the command line: what the verdict says, and what `sample` makes of it.

The model has a fine loss. At its smallest noise widths its torques are noise; paths made there were once called
"complete, converged, valid" at 156 kJ/mol. The saddle of the force field lies 13.755 kJ/mol above the anti minimum.
"""

import csv
import json

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli

pytestmark = pytest.mark.slow

SIMULATE = """\
version: 1
name: butane-data
seed: 7
molecule: {kind: file, structure: SHARED/butane_anti.pdb}
dynamics: {force_field: [SHARED/butane.xml], temperature_k: 300}
sampling:
  kind: metadynamics
  collective_variables: [["BUT1:C1", "BUT1:C2", "BUT1:C3", "BUT1:C4"]]
  walkers: 1
  duration_ps: 200
  round_ps: 20
production: {trajectories: 4, duration_ps: 400, frame_interval_ps: 0.1}
output: {data: butane.npz}
"""
TRAIN = """\
version: 1
name: butane-positions
seed: 1
data: {kind: dataset, dataset: butane.npz, use_forces: false, held_out: 1}
model: {kind: diffusion, hidden: 96, layers: 2, levels: 20}
optimize: {steps: 2500, batch: 128, linear_samples: 4000}
output: {checkpoint: butane.safetensors}
"""
SAMPLE = """\
version: 1
name: butane
seed: 1
endpoints:
  start: {structure: SHARED/butane_anti.pdb}
  end: {structure: SHARED/butane_gauche.pdb}
prior: {kind: checkpoint, checkpoint: butane.safetensors}
path: {paths: 1, images: 40}
action: {functional: truncated, temperature_k: 300}
optimize: {method: levenberg_marquardt}
validation:
  energy: {force_field: [SHARED/butane.xml], minimize: true}
output: {directory: run}
"""


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """A folder with the data set, the checkpoint and the recipes."""
    place = tmp_path_factory.mktemp("butane")
    for name, text in (("simulate", SIMULATE), ("train", TRAIN), ("sample", SAMPLE)):
        (place / f"{name}.yaml").write_text(text.replace("SHARED", str(root / "tests/molecule/data")))
    assert call(place, "simulate", "--workers", "1").exit_code == 0
    return place


@pytest.fixture(scope="module")
def trained(folder):
    return call(folder, "train", "--threads", "1")


def call(folder, command, *options):
    return CliRunner().invoke(cli.app, [command, str(folder / f"{command}.yaml"), *options])


def test_the_verdict_is_not_to_use_it_below_a_time(trained, folder):
    assert trained.exit_code == 0
    result = CliRunner().invoke(cli.app, ["inspect", str(folder / "butane.safetensors"), "--json"])
    report = json.loads(result.stdout)
    assert report["fit_for_paths"] is True
    assert report["verdict"].startswith("do not use below diffusion time 0.")
    by_width = report["card"]["verdict"]["by_width"]
    assert all(row["faults"] for row in by_width[:4]), "below 0.002 nm torques are noise"
    assert by_width[0]["torque_slope"]["value"] < 0.1
    assert 0.25 < report["card"]["diffusion_times"][0] < 0.6


def test_a_smaller_time_is_refused(trained, folder):
    result = call(folder, "sample", "--threads", "1", "--set", "prior.diffusion_time=0.01")
    assert result.exit_code == 1
    assert "prior.diffusion_time: got 0.01" in result.stderr
    assert "prior.accept_unfit: true" in result.stderr


def test_the_automatic_time_gives_the_saddle(trained, folder):
    result = call(folder, "sample", "--threads", "1", "--overwrite")  # the refused run before left its beginning
    assert result.exit_code in (0, 3), result.stderr
    (row,) = csv.DictReader((folder / "run" / "paths.csv").read_text().splitlines())
    assert float(row["barrier_forward_raw_kj_per_mol"]) < 25
    assert float(row["saddle_energy_above_start_force_field_kj_per_mol"]) == pytest.approx(13.755, abs=0.5)
    assert float(row["saddle_gradient_force_field_kj_per_mol_per_nm"]) < 1e-2

"""Standard output holds the answer and nothing else, whatever prints: Python code, C code, or C code when it ends."""

import json
import os
import subprocess
import sys

import mdtraj
import pytest

from tpsctl.errors import ExitCode

FAKE_RUN = """\
import ctypes, os, sys
from tpsctl.cli import app
from tpsctl.workflows.sample import run

def talkative(recipe, settings, progress):
    print("python talks")
    os.write(1, b"descriptor talks\\n")
    ctypes.CDLL(None).printf(b"buffer talks\\n")
    return {"outcome": "complete", "directory": "runs/x", "paths": [], "requested": 0}

run.run_recipe = talkative
sys.argv[1:] = ["sample", sys.argv[1], "--json"]
app.main()
"""

WELL = """\
version: 1
name: well
seed: 3
endpoints: {start: {position_nm: [-0.1, 0.0]}, end: {position_nm: [0.1, 0.02]}}
prior: {kind: double_well, temperature_k: 300}
path: {paths: 1, images: 12, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.01, diffusion_nm2_per_ps: 0.001}
optimize: {method: levenberg_marquardt, max_steps: 60}
output: {directory: out, figures: false}
"""


def call(*words, **changes):
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False, **changes)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "well.yaml"
    path.write_text(WELL)
    return path


def test_whatever_prints_only_the_answer_is_on_stdout(recipe):
    done = call("-c", FAKE_RUN, recipe)
    assert done.returncode == ExitCode.COMPLETE, done.stderr
    assert json.loads(done.stdout)["outcome"] == "complete"
    for who in ("python", "descriptor", "buffer"):
        assert f"{who} talks" in done.stderr


def test_ends_from_a_dcd_leave_json_alone(tmp_path, root):
    """MDTraj's reader of DCD files prints from C."""
    folder = root / "recipes" / "alanine_dipeptide"
    mdtraj.load(folder / "c7eq.pdb").save_dcd(str(tmp_path / "a.dcd"))
    end = f"{{trajectory: {tmp_path / 'a.dcd'}, topology: {folder / 'c7eq.pdb'}, frame: 0}}"
    words = ["check", root / "recipes" / "alanine_dipeptide.yaml", "--set", f"endpoints.start={end}", "--json"]
    done = call("-m", "tpsctl", *words, "--out", tmp_path / "out")
    assert done.returncode == ExitCode.COMPLETE, done.stderr
    assert json.loads(done.stdout)["passed"] is True
    assert "dcdplugin)" in done.stderr, "MDTraj talks no more: find another witness"


def test_a_table_is_an_answer_too(tmp_path):
    (tmp_path / "state").mkdir()
    done = call("-m", "tpsctl", "status", tmp_path)
    assert done.returncode == ExitCode.RESUMABLE
    assert done.stdout.startswith(str(tmp_path))


def test_a_reader_that_has_gone_is_no_defect():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tpsctl", "schema"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_defect(closed):
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m tpsctl --version {closed}'], capture_output=True, text=True
    )
    assert done.returncode == ExitCode.COMPLETE
    assert "Traceback" not in done.stderr

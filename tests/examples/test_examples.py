"""The examples for other schedulers: their commands exist, and the scripts do what they say, without the scheduler."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli

RECIPE = """\
version: 1
name: brown
seed: 3
endpoints: {start: {position_nm: [23, 30]}, end: {position_nm: [40, 9]}}
prior: {kind: mueller_brown, temperature_k: 2.405454}
path: {paths: 4, images: 20, batch_paths: 2, guess: {kind: linear}}
action: {functional: truncated, dt_ps: 0.1, diffusion_nm2_per_ps: 0.2}
optimize: {method: levenberg_marquardt, max_steps: 200}
output: {directory: out, figures: false, trajectories: [dcd]}
"""
FILES = ["pbs/array.pbs", "pbs/gather.pbs", "snakemake/Snakefile", "README.md"]


@pytest.fixture
def environment(tmp_path):
    """`tpsctl` on the search path, and the recipe in the working directory."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tpsctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tpsctl "$@"\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("file", FILES)
def test_the_options_used_exist(root, file):
    text = (root / "examples" / file).read_text()
    commands = re.findall(r"tpsctl (sample|gather|status|submit)\b([^`\n]*)", text)
    assert commands
    for command, rest in commands:
        options = CliRunner().invoke(cli.app, [command, "--help"]).output
        for option in re.findall(r"--[a-z]+", rest):
            assert option in options, f"{file}: {command} {option}"


@pytest.mark.parametrize("file", ["pbs/array.pbs", "pbs/gather.pbs"])
def test_bash_reads_the_pbs_scripts(root, file):
    subprocess.run(["bash", "-n", root / "examples" / file], check=True)


def test_the_pbs_scripts_run_shards_and_gather_them(root, environment, tmp_path):
    pbs = root / "examples" / "pbs"
    variables = environment | {"RECIPE": "recipe.yaml", "OUT": "out", "SHARDS": "2", "PBS_O_WORKDIR": str(tmp_path)}
    for index in ("1", "2"):
        subprocess.run(["bash", pbs / "array.pbs"], env=variables | {"PBS_ARRAY_INDEX": index}, check=True)
    subprocess.run(["bash", pbs / "gather.pbs"], env=variables, check=True)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_pbs_task_without_a_recipe_says_how_to_name_one(root, environment, tmp_path):
    variables = environment | {"PBS_O_WORKDIR": str(tmp_path), "PBS_ARRAY_INDEX": "1"}
    done = subprocess.run(
        ["bash", root / "examples" / "pbs" / "array.pbs"], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "qsub -v RECIPE=" in done.stderr


@pytest.mark.skipif(not shutil.which("snakemake"), reason="snakemake is not installed (pip install snakemake)")
def test_snakemake_runs_shards_and_gathers_them(root, environment, tmp_path):
    snakefile = root / "examples" / "snakemake" / "Snakefile"
    command = ["snakemake", "--snakefile", snakefile, "--cores", "1"]
    command += ["--config", "recipe=recipe.yaml", "out=out", "shards=2"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "manifest.json").exists()

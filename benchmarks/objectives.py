"""Priors of the Mueller-Brown surface by each objective of `tpsctl train`, and the paths that each one gives.

    python -m benchmarks.objectives [--only "NAME;NAME"] [--steps N]

Every row is a training through the command line with one network size, one number of steps, one batch and one seed,
then a search for the path between both minima with `tpsctl sample`, also through the command line. The table has

    score error      mean squared error of the score over the mean square of the exact score of the noised Boltzmann
                     density, on equilibrium points with this noise, at the noise width that the path uses
    barrier error    energy of the highest image minus that of the saddle, kJ/mol
    verdict          outcome of the path in its run directory
    seconds          of training, processor time of the process

All paths use the same noise width, so a row's diffusion time is that of its schedule. Rows of other runs are kept in
benchmarks/results/objectives.json, so a new objective is one more entry in OBJECTIVES and a run with --only.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.report import RESULTS, Table, machine, write_report
from tpsctl.prior.potentials import mueller_brown
from tpsctl.simulation.boltzmann import boltzmann_points
from tpsctl.workflows.checkpoints import open_prior

TEMPERATURE_K = 120.27236
SADDLE_KJ_PER_MOL = -3.539
BOX_NM = (0.0, 50.0)
WIDTH_NM = 0.5
"""Noise width of the paths, 0.06 standard deviations of the data."""

OBJECTIVES: dict[str, dict[str, Any]] = {
    "denoising in 256 levels": {"kind": "diffusion", "levels": 256},
    "flow matching": {"kind": "flow_matching"},
    "flow matching, conservative": {"kind": "flow_matching", "conservative": True},
    "denoising, likelihood": {"kind": "score_matching"},
    "denoising, likelihood, conservative": {"kind": "score_matching", "conservative": True},
    "denoising, simple, linear rate": {"kind": "score_matching", "weight": "simple", "times": "uniform"},
    "denoising, simple, sub-preserving": {
        "kind": "score_matching",
        "weight": "simple",
        "times": "uniform",
        "schedule": "sub_variance_preserving",
    },
    "implicit, likelihood": {"kind": "score_matching", "form": "implicit"},
    "Schroedinger bridge": {"kind": "schroedinger_bridge"},
    "Action Matching": {"kind": "action_matching"},
}
"""Sections `model` of the recipes."""

GRID = 512
"""Points of the grid in each direction on which the exact noised density is computed."""


def train(name: str, model: dict[str, Any], steps: int, folder: Path) -> tuple[Path, float]:
    """Train one model through the command line: its checkpoint, and processor seconds."""
    file = folder / f"{name.replace(' ', '_').replace(',', '')}.safetensors"
    recipe = {
        "version": 1,
        "name": name,
        "seed": 2026,
        "potential": {"kind": "mueller_brown", "temperature_k": TEMPERATURE_K, "samples": 200_000},
        "model": model | {"hidden": 96},
        "optimize": {"steps": steps, "batch": 512, "learning_rate": 2e-3},
        "output": {"checkpoint": str(file)},
    }
    seconds = run("train", recipe, folder, "--device", "cpu")
    return file, seconds


def run(command: str, recipe: dict[str, Any], folder: Path, *words: str) -> float:
    """Run a command of tpsctl on a recipe with one thread; processor seconds of the process."""
    path = folder / f"{command}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tpsctl", command, str(path), "--threads", "1", *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 3):  # 3: the path is there, and is not converged or not valid
        raise SystemExit(f"tpsctl {command} failed for {recipe['name']}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def path_of(name: str, checkpoint: Path, t: float, folder: Path) -> tuple[float, str]:
    """Energy of the highest image, kJ/mol, and the outcome of the path."""
    out = folder / f"paths-{checkpoint.stem}"
    recipe = {
        "version": 1,
        "name": name,
        "seed": 2026,
        "endpoints": {"start": {"position_nm": [23.073, 31.072]}, "end": {"position_nm": [41.897, 8.463]}},
        "prior": {"kind": "checkpoint", "checkpoint": str(checkpoint), "diffusion_time": t},
        "path": {"paths": 1, "images": 100, "guess": {"kind": "linear"}},
        "action": {"functional": "truncated", "dt_ps": 1.0, "diffusion_nm2_per_ps": 1.0},
        "optimize": {"method": "levenberg_marquardt", "max_steps": 200},
        "output": {"directory": str(out), "trajectories": ["dcd"]},
    }
    run("sample", recipe, folder)
    with (out / "paths.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    return float(row["highest_energy_raw_kj_per_mol"]), row["status"]


def noised_score(points: torch.Tensor, widths: torch.Tensor) -> torch.Tensor:
    """Exact score (point, 2), 1/nm, of the Boltzmann density with noise of widths (2,), nm, by sums over a grid."""
    side = torch.linspace(*BOX_NM, GRID, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    weight = -mueller_brown(grid.unsqueeze(1))  # kT = 1 kJ/mol
    found = []
    for point in points:
        away = (grid - point) / widths
        near = away.abs().amax(1) < 6
        share = torch.softmax(weight[near] - away[near].square().sum(1) / 2, 0)
        found.append((share.unsqueeze(1) * away[near]).sum(0) / widths)
    return torch.stack(found)


def score_error(checkpoint: Path, width_nm: float, count: int = 300) -> tuple[float, float]:
    """Relative mean squared error of the score at noised equilibrium points, and the diffusion time of this width.

    The noise is isotropic in the network's unit, which differs between dimensions; the width is the root mean square.
    The law of a bridge at a small time is taken for that of data with the noise of Brownian motion.
    """
    prior = open_prior(checkpoint)
    generator = torch.Generator().manual_seed(1)
    clean = boltzmann_points(
        mueller_brown, box_nm=BOX_NM, temperature_k=TEMPERATURE_K, count=count, generator=generator
    ).squeeze(1)
    t = prior.time_of(width_nm)
    widths = prior.schedule.width(t) * prior.units.scale
    points = clean + widths * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    exact = noised_score(points, widths)
    found = prior.at(t)(points.unsqueeze(1).float()).squeeze(1).double()
    return float((found - exact).square().mean() / exact.square().mean()), t


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=6000)
    options = parser.parse_args()
    names = [name for name in OBJECTIVES if not options.only or name in options.only.split(";")]
    stored = RESULTS / "objectives.json"
    rows = json.loads(stored.read_text(encoding="utf-8"))["rows"] if stored.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            checkpoint, seconds = train(name, OBJECTIVES[name], options.steps, Path(temporary))
            error, t = score_error(checkpoint, WIDTH_NM)
            top, status = path_of(name, checkpoint, t, Path(temporary))
        rows[name] = {
            "model": OBJECTIVES[name],
            "steps": options.steps,
            "diffusion_time": t,
            "score_error": error,
            "barrier_error_kj_per_mol": top - SADDLE_KJ_PER_MOL,
            "verdict": status,
            "training_seconds": seconds,
        }
        write(rows)


def write(rows: dict[str, dict[str, Any]]) -> None:
    """Store all rows and the table."""
    head = ["objective", "t", "score error", "barrier error, kJ/mol", "verdict", "training, CPU s"]
    keys = ("diffusion_time", "score_error", "barrier_error_kj_per_mol", "verdict", "training_seconds")
    table = Table(
        f"Mueller-Brown surface at kT = 1 kJ/mol, noise of {WIDTH_NM} nm",
        head,
        [[name, *(row[key] for key in keys)] for name, row in rows.items()],
    )
    write_report("objectives", machine() | {"threads": 1}, {"rows": rows}, [table])


if __name__ == "__main__":
    main()

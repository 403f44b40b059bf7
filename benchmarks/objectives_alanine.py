"""Priors of alanine dipeptide by each objective of `tpsctl train`, and the paths that each one gives.

    tpsctl simulate recipes/alanine_dipeptide/simulate.yaml
    python -m benchmarks.objectives_alanine [--data DATASET] [--out FOLDER] [--only "NAME;NAME"] [--steps N]

Every row is a training through the command line with one data set, one network, one number of steps, one batch and one
seed, then `tpsctl sample` with the recipe of the embedded prior and that checkpoint, also through the command line.
Paths are optimized at the smallest diffusion time that the verdict allows, as with `diffusion_time: auto`; a prior with
the verdict "do not use" is used all the same, at its smallest noise width. The table has

    width            noise width of the paths, nm
    score error      mean squared difference of the score and the physical force over kT, over the mean square of the
                     latter, on held-out frames, at this width
    torque R^2       of the torques about all rotatable bonds against the physical ones, likewise
    saddle error     energy of the prior's own saddle at the top of the worst path minus that of the force field, kJ/mol
    barrier error    force-field energy of the highest image of the worst path above the start, before any minimization,
                     minus that of the force field's saddle, kJ/mol
    samples          mean Jensen-Shannon divergence of torsions of the prior's samples from the data, nats
    verdict          the prior's own, from the training
    seconds          of training, processor time of the process, with preparation and judgement

Rows of other runs are kept in benchmarks/results/objectives_alanine.json, and checkpoints and paths in FOLDER. A
checkpoint that is there is not trained again, so its processor time is that of the row before.
"""

import argparse
import csv
import json
import math
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.objectives import run
from benchmarks.report import RESULTS, ROOT, Table, machine, write_report
from tpsctl.checkpoints.build import load_prior
from tpsctl.checkpoints.native import read_card
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.metrics import torque_r2
from tpsctl.units import thermal_energy

SADDLE_KJ_PER_MOL = 36.373
SEED, PATHS, HELD_OUT_FRAMES = 2026, 2, 2000
LEVELS, LINEAR_SAMPLES = 16, 1000
RECIPES = ROOT / "recipes"

OBJECTIVES: dict[str, tuple[dict[str, Any], bool]] = {
    "fitted energy alone": ({"kind": "diffusion"}, True),
    "denoising": ({"kind": "diffusion"}, True),
    "denoising, positions alone": ({"kind": "diffusion"}, False),
    "score matching, likelihood": ({"kind": "score_matching", "weight": "likelihood", "times": "importance"}, True),
    "score matching, simple": ({"kind": "score_matching", "weight": "simple", "times": "uniform"}, True),
    "flow matching": ({"kind": "flow_matching"}, True),
    "Action Matching": ({"kind": "action_matching"}, True),
    "Action Matching, entropic": ({"kind": "action_matching", "noise": 0.5}, True),
}
"""Sections `model` of the recipes, and whether forces are used."""

CONTROL = "fitted energy alone"
"""The row of a training of one step: the energy that is fitted in closed form, with which all other rows begin."""


def recipe_of(name: str, data: Path, file: Path, steps: int) -> dict[str, Any]:
    """The recipe of one row."""
    model, use_forces = OBJECTIVES[name]
    return {
        "version": 1,
        "name": name,
        "seed": SEED,
        "data": {"kind": "dataset", "dataset": str(data), "use_forces": use_forces, "held_out": 1},
        "model": model | {"levels": LEVELS},
        "optimize": {"steps": steps, "batch": 128, "linear_samples": LINEAR_SAMPLES},
        "output": {"checkpoint": str(file)},
    }


def time_of_paths(checkpoint: Path) -> float:
    """The smallest diffusion time that the verdict allows, or that of the smallest noise width."""
    prior, card = load_prior(checkpoint), read_card(checkpoint)
    smallest = prior.time_of(prior.smallest_width_nm) * (1 + 1e-9)
    return max(smallest, card.get("diffusion_times", [smallest])[0])


def paths_of(checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Barriers of the paths before any minimization, the prior's saddles, kJ/mol, and how the paths ended."""
    recipe = yaml.safe_load((RECIPES / "alanine_dipeptide.yaml").read_text(encoding="utf-8"))
    for end in recipe["endpoints"].values():
        end["structure"] = str(RECIPES / end["structure"])
    recipe["prior"] = {
        "kind": "checkpoint",
        "checkpoint": str(checkpoint),
        "diffusion_time": time_of_paths(checkpoint),
        "accept_unfit": True,
    }
    recipe["path"]["paths"] = PATHS
    recipe["output"] = {"directory": str(folder / f"{checkpoint.stem}_paths"), "trajectories": ["dcd"]}
    table = folder / f"{checkpoint.stem}_paths" / "paths.csv"
    if not table.exists() or table.stat().st_mtime < checkpoint.stat().st_mtime:
        run("sample", recipe, folder, "--overwrite")
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "barriers_raw_kj_per_mol": [float(row["barrier_forward_raw_kj_per_mol"] or "nan") for row in rows],
        "saddles_kj_per_mol": [float(row["saddle_energy_above_start_prior_kj_per_mol"] or "nan") for row in rows],
        "status": [row["status"] for row in rows],
    }


def measured(checkpoint: Path, held_out: Dataset) -> dict[str, Any]:
    """Score error and torques against forces of held-out frames, at the noise width of the paths."""
    prior, card, t = load_prior(checkpoint), read_card(checkpoint), time_of_paths(checkpoint)
    chosen = torch.linspace(0, len(held_out) - 1, HELD_OUT_FRAMES).long()
    x = held_out.positions[chosen].float()
    exact = (held_out.forces[chosen] / thermal_energy(held_out.temperature_k)).float()
    found = torch.cat([prior.at(t)(part) for part in x.split(500)])
    torques = torque_r2(held_out.topology, x, found, exact)
    return {
        "diffusion_time": t,
        "width_nm": prior.sigma_nm(t),
        "score_error": float((found - exact).square().mean() / exact.square().mean()),
        "torque_r2": sum(torques.values()) / len(torques),
        "verdict": card["verdict"]["words"],
        "sample_divergence_nats": card["verdict"]["samples"]["divergence"],
        "sample_floor_nats": card["verdict"]["samples"]["floor"],
    }


def worst(energies: list[float]) -> float:
    """The largest difference from the force field's saddle, kJ/mol; nan where a path has none."""
    return max((energy - SADDLE_KJ_PER_MOL for energy in energies), key=lambda e: math.inf if math.isnan(e) else abs(e))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "runs" / "alanine_dipeptide" / "dataset.npz")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "objectives_alanine")
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [name for name in OBJECTIVES if not options.only or name in options.only.split(";")]
    stored = RESULTS / "objectives_alanine.json"
    rows = json.loads(stored.read_text(encoding="utf-8"))["rows"] if stored.exists() else {}
    options.out.mkdir(parents=True, exist_ok=True)
    held_out = Dataset.load(options.data).split(1, seed=SEED)[1]
    for name in names:
        file = options.out / f"{name.replace(' ', '_').replace(',', '')}.safetensors"
        steps = 1 if name == CONTROL else options.steps
        seconds = rows.get(name, {}).get("training_seconds")
        if not file.exists():
            seconds = run("train", recipe_of(name, options.data, file, steps), options.out, "--device", "cpu")
        paths = paths_of(file, options.out)
        model, use_forces = OBJECTIVES[name]
        rows[name] = {
            "model": model,
            "use_forces": use_forces,
            "steps": steps,
            **measured(file, held_out),
            **paths,
            "barrier_error_kj_per_mol": worst(paths["barriers_raw_kj_per_mol"]),
            "saddle_error_kj_per_mol": worst(paths["saddles_kj_per_mol"]),
            "training_seconds": seconds,
        }
        write(rows)


def write(rows: dict[str, dict[str, Any]]) -> None:
    """Store all rows and the table."""
    columns = {
        "width_nm": "width, nm",
        "score_error": "score error",
        "torque_r2": "torque R2",
        "saddle_error_kj_per_mol": "saddle error, kJ/mol",
        "barrier_error_kj_per_mol": "barrier error, kJ/mol",
        "torsions_nats": "samples, torsions, nats",
        "status": "paths",
        "verdict": "verdict",
        "training_seconds": "training, CPU s",
    }
    body = []
    for name in (name for name in OBJECTIVES if name in rows):
        shown = rows[name] | {
            "status": ", ".join(rows[name]["status"]),
            "torsions_nats": rows[name]["sample_divergence_nats"]["torsions"],
        }
        body.append([name, *(shown[key] for key in columns)])
    title = f"Alanine dipeptide, saddle of the force field at {SADDLE_KJ_PER_MOL:.2f} kJ/mol"
    write_report(
        "objectives_alanine",
        machine() | {"threads": 1},
        {"rows": rows},
        [Table(title, ["objective", *columns.values()], body)],
    )


if __name__ == "__main__":
    main()

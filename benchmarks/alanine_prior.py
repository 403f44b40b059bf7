"""How good alanine dipeptide checkpoints are by themselves: torques, barrier, samples.

    make reproduce-alanine
    python -m benchmarks.alanine_reference --out runs/alanine-reference
    python -m benchmarks.alanine_prior runs/alanine_dipeptide/*.safetensors \\
        --data runs/alanine_dipeptide/dataset.npz --reference runs/alanine-reference

No bias is added to a model and no path is optimized. Per checkpoint: R^2 of the torque about every rotatable
bond on held-out trajectories, at several noise widths; the model's energy along the force field's own
minimum-energy path; and samples from noise: handedness of every center, Ramachandran map against the
reweighted data (beside the distance that samples of the data themselves have), balance of the
basins, and percentiles of the force field's energy. What was held out is read from the checkpoint's card.

The results, a column per checkpoint, go to benchmarks/results/ as JSON and as a table.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import Table, machine, write_report
from tpsctl.checkpoints.build import load_prior
from tpsctl.checkpoints.native import read_card
from tpsctl.prior.network import NetworkPrior
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.metrics import (
    dihedral_histogram,
    handedness_agreement,
    jensen_shannon_distance,
    ramachandran_angles,
    torque_r2,
)
from tpsctl.units import thermal_energy
from tpsctl.validation.energy import EnergyModel

FORCE_FIELD = ("amber99sbildn.xml",)
WIDTHS_NM = (0.00025, 0.0005, 0.001, 0.002, 0.004)
PERCENTILES = (5, 50, 95, 99)
HELD_OUT_FRAMES = 3000
FLOOR_REPEATS = 20
PHI_PSI = ("A:ALA2:N-A:ALA2:CA", "A:ALA2:CA-A:ALA2:C")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="data set that the checkpoints were trained on (.npz)")
    parser.add_argument("--reference", type=Path, required=True, help="folder that alanine_reference.py wrote")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100, help="noise widths of the sampler")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="alanine_prior", help="file name of the results, without suffix")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = machine() | {"threads": arguments.threads}
    data = Dataset.load(arguments.data)
    path = np.load(next(arguments.reference.glob("mep*.npz")))
    results = {}
    for checkpoint in arguments.checkpoints:
        prior, recipe = load_prior(checkpoint), read_card(checkpoint)["recipe"]
        train, held_out = data.split(recipe["data"]["held_out"], seed=recipe["seed"])
        results[checkpoint.stem] = {
            "kind": prior.kind,
            "seed": recipe["seed"],
            "torque_r2": torques(prior, held_out),
            "barrier": barrier(prior, torch.tensor(path["positions"]), torch.tensor(path["energies"])),
            "samples": samples(prior, train, arguments.samples, arguments.steps),
        }
        write_report(arguments.name, facts, {"checkpoints": results}, [table(results)])


def table(results: dict[str, dict[str, Any]]) -> Table:
    """What a person wants to know, a column per checkpoint."""
    columns = list(results.values())
    rows: list[list[Any]] = [["training seed", "", *(c["seed"] for c in columns)]]
    for width in (0.00025, 0.0005):
        both = [[c["torque_r2"][str(width)][bond] for bond in PHI_PSI] for c in columns]
        rows.append(
            [f"torque R2 of phi / psi, held out, at {width:g} nm", "", *(f"{a:.4f} / {b:.4f}" for a, b in both)]
        )
    for width in (0.00025, 0.0005):
        found = [c["barrier"][str(width)] for c in columns]
        truth = f"{found[0]['true_barrier_kj_per_mol']:.2f}"
        rows.append(
            [
                f"barrier along the true path at {width:g} nm, kJ/mol",
                truth,
                *(f"{f['barrier_kj_per_mol']:.2f}" for f in found),
            ]
        )
    drawn = [c["samples"] for c in columns]
    floor = "{:.3f} +- {:.3f}".format(*drawn[0]["ramachandran_floor"])
    energies = [d["energy_percentiles_kj_per_mol"] for d in drawn]
    rows += [
        ["samples: least right handedness of any center", 1, *(f"{min(d['handedness'].values()):.3f}" for d in drawn)],
        [
            "samples: Ramachandran Jensen-Shannon distance to the data",
            floor,
            *(f"{d['ramachandran_distance']:.3f}" for d in drawn),
        ],
        [
            "samples: fraction with phi > 0",
            f"{drawn[0]['true_positive_phi']:.3f}",
            *(f"{d['positive_phi']:.3f}" for d in drawn),
        ],
        [
            f"samples: energy at {', '.join(map(str, PERCENTILES))} %, kJ/mol",
            _joined(drawn[0]["true_energy_percentiles_kj_per_mol"]),
            *map(_joined, energies),
        ],
        ["samples: s", "", *(f"{d['seconds']:.0f}" for d in drawn)],
    ]
    return Table("The priors alone", ["", "truth", *results], rows)


def _joined(percentiles: dict[str, float]) -> str:
    return " / ".join(f"{value:.0f}" for value in percentiles.values())


def torques(prior: NetworkPrior, held_out: Dataset) -> dict[str, dict[str, float]]:
    """R^2 of the torque about every rotatable bond, by noise width in nm."""
    few = torch.linspace(0, len(held_out) - 1, HELD_OUT_FRAMES).long()
    x = held_out.positions[few].float()
    reference = (held_out.forces[few] / thermal_energy(held_out.temperature_k)).float()
    return {
        str(width): torque_r2(held_out.topology, x, prior.field(x, width).detach(), reference) for width in WIDTHS_NM
    }


def barrier(prior: NetworkPrior, path: Tensor, energies: Tensor) -> dict[str, dict[str, float]]:
    """Model against force field along the minimum-energy path, kJ/mol above its first frame, by width in nm."""
    assert prior.temperature_k is not None
    prior.to(device="cpu", dtype=torch.float64)
    truth = energies - energies[0]
    found = {}
    for width in WIDTHS_NM:
        u = _energies(prior, path.double(), width)
        model = (u - u[0]) * thermal_energy(prior.temperature_k)
        found[str(width)] = {
            "barrier_kj_per_mol": float(model.max()),
            "true_barrier_kj_per_mol": float(truth.max()),
            "rms_error_kj_per_mol": float((model - truth).square().mean().sqrt()),
            "end_kj_per_mol": float(model[-1]),
            "true_end_kj_per_mol": float(truth[-1]),
        }
    prior.to(device="cpu", dtype=torch.float32)
    return found


def samples(prior: NetworkPrior, data: Dataset, count: int, steps: int) -> dict[str, Any]:
    """Statistics of samples from noise beside those of the reweighted data."""
    assert data.bias is not None
    generator = torch.Generator().manual_seed(1)
    started = time.perf_counter()
    x = prior.sample(count, generator, steps=steps).double()
    seconds = time.perf_counter() - started
    weights = data.weights()
    dihedrals = data.bias.dihedrals
    angles, truth = ramachandran_angles(x, dihedrals), ramachandran_angles(data.positions.double(), dihedrals)
    reference = dihedral_histogram(truth, weights)
    floor = []
    for _ in range(FLOOR_REPEATS):
        drawn = truth[torch.multinomial(weights, count, generator=generator)]
        floor.append(jensen_shannon_distance(dihedral_histogram(drawn), reference))
    energy = EnergyModel(data.topology, FORCE_FIELD, data.positions[0].double())
    few = torch.multinomial(weights, 5000, replacement=True, generator=generator)
    return {
        "seconds": seconds,
        "finite": int(torch.isfinite(x).all(-1).all(-1).sum()),
        "requested": count,
        "handedness": handedness_agreement(data.topology, x, data.positions[0].double()),
        "ramachandran_distance": jensen_shannon_distance(dihedral_histogram(angles), reference),
        "ramachandran_floor": [float(np.mean(floor)), float(np.std(floor))],
        "positive_phi": float((angles[:, 0] > 0).double().mean()),
        "true_positive_phi": float(weights[truth[:, 0] > 0].sum()),
        "extended_c5": float(_extended(angles).double().mean()),
        "true_extended_c5": float(weights[_extended(truth)].sum()),
        "energy_percentiles_kj_per_mol": _percentiles(energy.energies(x)),
        "true_energy_percentiles_kj_per_mol": _percentiles(data.energies[few]),
    }


def _energies(prior: NetworkPrior, x: Tensor, width: float) -> Tensor:
    """The energy the field is the slope of, kT."""
    energies = prior.field.energy(x, width)
    assert energies is not None
    return energies.detach()


def _extended(angles: Tensor) -> Tensor:
    return (angles[:, 1].abs() > 2) & (angles[:, 0] < 0)


def _percentiles(energies: Tensor) -> dict[str, float]:
    values = np.percentile(np.nan_to_num(np.asarray(energies, dtype=float), nan=np.inf), PERCENTILES, method="lower")
    return {str(p): float(v) for p, v in zip(PERCENTILES, values, strict=True)}


if __name__ == "__main__":
    main()

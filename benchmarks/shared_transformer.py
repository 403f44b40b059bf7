"""One transformer for several molecules against one for each, with as many steps in all.

    tpsctl simulate ala.yaml; tpsctl simulate pro.yaml      # ACE-ALA-NME and ACE-PRO-NME, 5 x 200 ps each, no bias
    python -m benchmarks.shared_transformer ala.npz pro.npz --heavy --steps 1000

Every molecule gets a model of its own, trained for --steps steps of --batch structures. The shared model is trained for
as many steps as all of these together, each with a share of the batch for every molecule, so that every molecule is
seen as often as alone. Both learn from positions. The loss is that of the training (`EnergyDenoising`) on held-out
frames, with the scales of the molecule's own training for both models; parameters are the averaged ones.

--heavy leaves hydrogens out of the data. --alone fits no pair energies, so that the transformer learns everything.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import Table, machine, write_report
from tpsctl.networks.chain_energy.fitted import FittedEnergy
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.train import TrainRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.loop import Loop
from tpsctl.training.objectives.energy_residual import ResidualDenoising
from tpsctl.training.objectives.shared_denoising import SharedDenoising
from tpsctl.workflows.train.run import task_of

BATCHES = 8
"""Batches of held-out frames that the loss is a mean of."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="data sets (.npz), one per molecule")
    parser.add_argument("--steps", type=int, default=1000, help="steps of the model of one molecule")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--heavy", action="store_true", help="leave hydrogens out")
    parser.add_argument("--alone", action="store_true", help="fit no pair energies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="shared_transformer", help="file name of the results, without suffix")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = machine() | {
        key: getattr(arguments, key) for key in ("threads", "steps", "batch", "heavy", "alone", "seed")
    }
    with tempfile.TemporaryDirectory() as folder:
        files = [_written(Path(folder), file, heavy=arguments.heavy) for file in arguments.data]
        apart = {file.stem: train(Path(folder), [file], arguments.steps, arguments) for file in files}
        shared, seconds = train(Path(folder), files, arguments.steps * len(files), arguments)
    assert isinstance(shared, SharedDenoising)
    results: dict[str, Any] = {"shared_seconds": round(seconds, 1), "molecules": {}}
    for (name, (objective, spent)), member in zip(apart.items(), shared.network.members, strict=True):
        assert isinstance(objective, ResidualDenoising)
        models = {"apart": objective.network, "shared": member, "pair energies alone": None}
        results["molecules"][name] = {"apart_seconds": round(spent, 1)} | {
            key: held_out_loss(objective, model) for key, model in models.items()
        }
    write_report(arguments.name, facts, results, [table(results)])


def train(folder: Path, files: list[Path], steps: int, arguments: Any) -> tuple[Any, float]:
    """The objective with the averaged network after the training, and the seconds it took."""
    one = {"kind": "dataset", "dataset": str(files[0]), "use_forces": False}
    several = {"kind": "datasets", "datasets": [{"dataset": str(file)} for file in files], "use_forces": False}
    document = {
        "version": 1,
        "name": "shared",
        "seed": arguments.seed,
        "data": one if len(files) == 1 else several,
        "model": {
            "kind": "diffusion",
            "network": {"kind": "transformer_energy", "pair_energy": not arguments.alone},
        },
        "optimize": {"steps": steps, "batch": arguments.batch, "linear_samples": 3000, "average": 0.99},
        "output": {"checkpoint": "model.safetensors"},
    }
    (folder / "train.yaml").write_text(json.dumps(document))
    task = task_of(load_recipe(folder / "train.yaml", TrainRecipe))
    loop = Loop(task.objective(task.load()), task.loop_settings())
    started = time.perf_counter()
    for _ in loop.prepare():
        pass
    for step, loss in loop.steps():
        if step % 200 == 0:
            print(f"{', '.join(file.stem for file in files)}: step {step} of {steps}, loss {loss:.4f}", flush=True)
    loop.averaged_network()
    return loop.objective, time.perf_counter() - started


def held_out_loss(objective: ResidualDenoising, model: FittedEnergy | None) -> tuple[float, float]:
    """Mean loss of a model of the molecule on held-out frames, with its standard error; None for the fitted part."""
    losses = []
    for seed in range(BATCHES):
        batch = objective.held_out_batch(torch.Generator().manual_seed(seed))
        assert batch is not None
        y, sigma = batch.y.requires_grad_(True), batch.sigma
        fitted = objective.network.base_gradient(y, sigma).detach()
        whole = fitted if model is None else gradient(model, y, sigma)
        losses.append(float(objective.loss_of(batch, whole - fitted).detach()))
    return statistics.mean(losses), statistics.stdev(losses) / len(losses) ** 0.5


def gradient(model: FittedEnergy, y: Tensor, sigma: Tensor) -> Tensor:
    """Gradient of the energy, kT/nm."""
    return torch.autograd.grad((model.base(y, sigma) + model.residual(y, sigma)).sum(), y)[0].detach()


def table(results: dict[str, Any]) -> Table:
    """A row per molecule."""
    keys = ("pair energies alone", "apart", "shared")
    rows = [
        [name, *(f"{found[key][0]:.4f} ± {found[key][1]:.4f}" for key in keys)]
        for name, found in results["molecules"].items()
    ]
    return Table("loss on held-out frames", ["molecule", *keys], rows)


def _written(folder: Path, file: Path, *, heavy: bool) -> Path:
    """A copy of a data set in the folder, without hydrogens if asked for."""
    data = Dataset.load(file)
    if heavy:
        kept = [i for i, atom in enumerate(data.topology.atoms) if atom.element != "H"]
        parts = {"positions": data.positions[:, kept], "forces": data.forces[:, kept]}
        data = replace(data, topology=data.topology.select(kept), **parts)
    data.save(folder / file.name)
    return folder / file.name


if __name__ == "__main__":
    main()

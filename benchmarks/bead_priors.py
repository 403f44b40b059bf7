"""How good priors of a chain of beads are by themselves: score, samples, speed; a column per checkpoint.

    tpsctl simulate recipes/trp_cage/simulate.yaml
    tpsctl train recipes/trp_cage/train_diffusion.yaml
    python -m benchmarks.bead_priors runs/trp_cage/*.safetensors \\
        --data runs/trp_cage/dataset.npz --simulation recipes/trp_cage/simulate.yaml

* Cosine between the prior's score and the reference at noise of --width nm, on noised frames y of held-out
  trajectories: of all components, and with the stiff bonds projected out. The reference is exact up to sampling: the
  score at y is the mean of F(x)/kT over the posterior p(x | y) ~ exp(-U(x)/kT - |y - x|^2 / 2 sigma^2), because the
  means of the force and of the denoising target agree there, and the force fluctuates less. The posterior is sampled by
  Hamiltonian Monte Carlo on the simulation's own energy; it starts at the clean frame, which is itself a sample of it.
* Jensen-Shannon divergence (nats) of the distributions of all pair distances, mean over pairs, between samples and as
  many frames of the data; beside it, by the same estimator and with as many frames, the floor: one half of the
  trajectories against the other half.
* The same divergence of the joint distribution of Q, the fraction of native contacts, and the RMSD from the data's
  frame with the most of them, on a grid of 15 by 15, where the data name native contacts.
* Seconds per 1000 samples.

What was held out is read from the checkpoint's card. The results go to benchmarks/results/ as JSON and as a table.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import Table, machine, write_report
from tpsctl.checkpoints.build import load_prior
from tpsctl.checkpoints.native import read_card
from tpsctl.molecule.contacts import NativeContacts
from tpsctl.molecule.geometry import center, rmsd
from tpsctl.prior.network import NetworkPrior
from tpsctl.recipe.loader import load_recipe
from tpsctl.recipe.simulate import SimulateRecipe
from tpsctl.simulation.dataset import Dataset
from tpsctl.training.metrics import jensen_shannon_distance
from tpsctl.units import thermal_energy
from tpsctl.workflows.force_field import system_source

MOVES, DISCARDED = 60, 5
"""Hamiltonian moves per frame, and how many of them are not averaged over."""

LEAST_STEPS, MOST_STEPS, DT_PS = 8, 16, 0.012
BINS, GRID = 40, 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="data set that the checkpoints were trained on (.npz)")
    parser.add_argument("--simulation", type=Path, required=True, help="recipe of the simulation that made the data")
    parser.add_argument("--width", type=float, default=0.01, help="noise width of the score, nm")
    parser.add_argument("--frames", type=int, default=200, help="noised frames of the score")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100, help="noise widths of the sampler")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="bead_priors", help="file name of the results, without suffix")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = machine() | {"threads": arguments.threads}
    data = Dataset.load(arguments.data)
    source = system_source(load_recipe(arguments.simulation, SimulateRecipe, []).dynamics.force_field)
    system = source.create(data.topology).system
    results: dict[str, dict[str, Any]] = {}
    reference: dict[str, tuple[Tensor, Tensor, float]] = {}
    for checkpoint in arguments.checkpoints:
        prior, recipe = load_prior(checkpoint), read_card(checkpoint)["recipe"]
        split = (recipe["data"]["held_out"], recipe["seed"])
        held_out = data.split(split[0], seed=split[1])[1]
        if str(split) not in reference:
            reference[str(split)] = posterior_scores(system, held_out, arguments.width, arguments.frames)
        noised, exact, accepted = reference[str(split)]
        results[checkpoint.stem] = {
            "network": prior_name(checkpoint),
            "accepted_moves": accepted,
            "score": cosines(prior, noised, exact, arguments.width, data.topology.bonds),
            "samples": samples(prior, data, arguments.samples, arguments.steps),
        }
        write_report(arguments.name, facts, {"checkpoints": results}, [table(results, arguments.width)])


def prior_name(checkpoint: Path) -> str:
    """Name of the network, steps and batch size, as the card states them."""
    card = read_card(checkpoint)
    optimize = card["recipe"]["optimize"]
    return f"{card['network']['name']}, {optimize['steps']} steps of {optimize['batch']}"


def posterior_scores(system: Any, frames: Dataset, width_nm: float, count: int) -> tuple[Tensor, Tensor, float]:
    """Noised frames (count, bead, 3), nm, their scores, 1/nm, and the fraction of accepted moves."""
    kt = thermal_energy(frames.temperature_k)
    posterior = Posterior(system, width_nm, kt)
    random = np.random.default_rng(0)
    noised, scores = [], []
    for index in random.choice(len(frames), count, replace=False):
        clean = frames.positions[int(index)].double().numpy()
        y = clean + width_nm * random.standard_normal(clean.shape)
        noised.append(y)
        scores.append(posterior.mean_force(clean, y, random) / kt)
    accepted = posterior.accepted / (count * MOVES)
    return center(torch.tensor(np.array(noised))), torch.tensor(np.array(scores)), accepted


class Posterior:
    """Hamiltonian Monte Carlo on U(x)/kT + |y - x|^2 / (2 sigma^2).

    Args:
        system: An `openmm.System`; it is copied.
        width_nm: sigma, nm.
        kt: kT, kJ/mol.
    """

    def __init__(self, system: Any, width_nm: float, kt: float) -> None:
        import openmm

        system = openmm.XmlSerializer.clone(system)
        for force in system.getForces():
            force.setForceGroup(0)
        self._tether = openmm.CustomExternalForce(f"{kt / (2 * width_nm**2)!r}*((x-x1)^2+(y-y1)^2+(z-z1)^2)")
        for name in ("x1", "y1", "z1"):
            self._tether.addPerParticleParameter(name)
        n = system.getNumParticles()
        for i in range(n):
            self._tether.addParticle(i, [0.0, 0.0, 0.0])
        self._tether.setForceGroup(1)
        system.addForce(self._tether)
        self._masses = np.array([system.getParticleMass(i)._value for i in range(n)]).reshape(-1, 1)
        self._kt, self.accepted = kt, 0
        integrator = openmm.CustomIntegrator(DT_PS)  # velocity Verlet, whose velocities belong to its positions
        for variable, change in (("v", "v+0.5*dt*f/m"), ("x", "x+dt*v"), ("v", "v+0.5*dt*f/m")):
            integrator.addComputePerDof(variable, change)
        platform = openmm.Platform.getPlatformByName("Reference")
        self._integrator, self._context = integrator, openmm.Context(system, integrator, platform)

    def mean_force(self, clean: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Mean physical force over the posterior of the noised frame y, kJ/mol/nm; `clean` is one sample of it."""
        for i, row in enumerate(y):
            self._tether.setParticleParameters(i, i, row.tolist())
        self._tether.updateParametersInContext(self._context)
        x, total = clean, np.zeros_like(clean)
        for move in range(MOVES):
            v = random.standard_normal(x.shape) * np.sqrt(self._kt / self._masses)
            self._context.setPositions(x)
            self._context.setVelocities(v)
            before = self._energy()
            self._integrator.step(int(random.integers(LEAST_STEPS, MOST_STEPS)))
            if math.log(random.random()) < (before - self._energy()) / self._kt:
                x = self._context.getState(positions=True).getPositions(asNumpy=True)._value
                self.accepted += 1
            if move >= DISCARDED:
                self._context.setPositions(x)
                total += self._context.getState(forces=True, groups={0}).getForces(asNumpy=True)._value
        return total / (MOVES - DISCARDED)

    def _energy(self) -> float:
        state = self._context.getState(energy=True, velocities=True)
        kinetic = 0.5 * (self._masses * state.getVelocities(asNumpy=True)._value ** 2).sum()
        return state.getPotentialEnergy()._value + kinetic


def cosines(
    prior: NetworkPrior, y: Tensor, exact: Tensor, width_nm: float, bonds: tuple[tuple[int, int], ...]
) -> dict[str, float]:
    """Mean cosine between the prior's score and the exact one, and relative error, with and without bonds."""
    found = prior.at(prior.time_of(width_nm))(y.to(prior.field.like)).double()
    found, exact = found.flatten(1), center(exact).flatten(1)
    free = without_bonds(y, bonds)
    found_free, exact_free = free(found), free(exact)
    return {
        "cosine": float(torch.cosine_similarity(found, exact).mean()),
        "cosine_without_bonds": float(torch.cosine_similarity(found_free, exact_free).mean()),
        "relative_error_without_bonds": float((found_free - exact_free).norm() / exact_free.norm()),
    }


def without_bonds(y: Tensor, bonds: tuple[tuple[int, int], ...]) -> Any:
    """The projection of vectors (frame, 3 bead) on directions in which no bond length of y changes."""
    i, j = torch.tensor(bonds).T
    unit = torch.nn.functional.normalize(y[:, i] - y[:, j], dim=2)
    gradients = y.new_zeros(len(y), len(bonds), *y.shape[1:])
    index = torch.arange(len(bonds))
    gradients[:, index, i], gradients[:, index, j] = unit, -unit
    basis = torch.linalg.qr(gradients.flatten(2).mT)[0]
    return lambda v: v - (basis @ (basis.mT @ v.unsqueeze(2))).squeeze(2)


def samples(prior: NetworkPrior, data: Dataset, count: int, steps: int) -> dict[str, float]:
    """Divergence of the pair distances of samples from noise, its floor, and the time that samples take."""
    generator = torch.Generator().manual_seed(0)
    began = time.process_time()
    x = prior.sample(count, generator, steps=steps)
    seconds = time.process_time() - began
    numbers = data.trajectories.unique()
    first = torch.isin(data.trajectories, numbers[: len(numbers) // 2])

    def some(part: Dataset) -> Tensor:
        return part.positions[torch.randperm(len(part), generator=generator)[:count]]

    theirs, halves = some(data), (some(data.take(first)), some(data.take(~first)))
    folding = {}
    if "native_contacts" in data.settings:
        seen = folding_coordinates(data)
        folding = {
            "folding_divergence_nats": folding_divergence(seen(x), seen(theirs)),
            "folding_floor_nats": folding_divergence(*map(seen, halves)),
        }
    return folding | {
        "cpu_seconds_per_1000": 1000 * seconds / count,
        "divergence_nats": divergence(x, theirs),
        "floor_nats": divergence(*halves),
        "longest_bond_nm": float(torch.stack([(x[:, i] - x[:, j]).norm(dim=1) for i, j in data.topology.bonds]).max()),
    }


def divergence(a: Tensor, b: Tensor) -> float:
    """Jensen-Shannon divergence, nats, of the histograms of every pair distance, mean over pairs."""
    i, j = torch.triu_indices(a.shape[1], a.shape[1], 1)
    found = []
    for p, q in zip(i.tolist(), j.tolist(), strict=True):
        r, s = ((x[:, p] - x[:, q]).norm(dim=1).double() for x in (a, b))
        low, high = float(torch.cat((r, s)).min()), float(torch.cat((r, s)).max())
        histograms = [torch.histc(values, BINS, low, high) / len(values) for values in (r, s)]
        found.append(jensen_shannon_distance(*histograms) ** 2)
    return sum(found) / len(found)


def folding_coordinates(data: Dataset) -> Callable[[Tensor], Tensor]:
    """Q and the RMSD, nm, from the frame with the most native contacts, of frames (frame, bead, 3): (frame, 2)."""
    stored = data.settings["native_contacts"]
    contacts = NativeContacts(tuple((i, j) for i, j in stored["pairs"]), tuple(stored["distances_nm"]))
    folded = data.positions[int(contacts.fraction(data.positions).argmax())].double()

    def seen(x: Tensor) -> Tensor:
        x = x.double()
        return torch.stack((contacts.fraction(x), rmsd(x, folded.expand_as(x))), 1)

    return seen


def folding_divergence(a: Tensor, b: Tensor) -> float:
    """Jensen-Shannon divergence, nats, of the histograms of two coordinates (frame, 2) on one grid."""
    low, high = (torch.cat((a, b)).amin(0).tolist(), torch.cat((a, b)).amax(0).tolist())
    limits = [(u, v) for u, v in zip(low, high, strict=True)]
    p, q = (np.histogram2d(x[:, 0].numpy(), x[:, 1].numpy(), bins=GRID, range=limits)[0] / len(x) for x in (a, b))
    return jensen_shannon_distance(torch.from_numpy(p), torch.from_numpy(q)) ** 2


def table(results: dict[str, dict[str, Any]], width_nm: float) -> Table:
    """What a person wants to know, a column per checkpoint."""
    columns = list(results.values())

    def row(name: str, unit: str, *keys: str) -> list[Any]:
        return [name, unit, *(c[keys[0]] if len(keys) == 1 else c[keys[0]][keys[1]] for c in columns)]

    folding = []
    if all("folding_divergence_nats" in column["samples"] for column in columns):
        folding = [
            row("divergence of Q and RMSD", "nats", "samples", "folding_divergence_nats"),
            row("its floor, two halves of the data", "nats", "samples", "folding_floor_nats"),
        ]
    rows = [
        row("network", "", "network"),
        row(f"cosine of the score at {width_nm:g} nm", "1", "score", "cosine"),
        row("the same, bonds projected out", "1", "score", "cosine_without_bonds"),
        row("relative error, bonds projected out", "1", "score", "relative_error_without_bonds"),
        row("divergence of pair distances", "nats", "samples", "divergence_nats"),
        row("its floor, two halves of the data", "nats", "samples", "floor_nats"),
        *folding,
        row("longest bond of all samples", "nm", "samples", "longest_bond_nm"),
        row("1000 samples", "CPU s", "samples", "cpu_seconds_per_1000"),
    ]
    return Table("Priors of a chain of beads", ["what", "unit", *results], rows)


if __name__ == "__main__":
    main()

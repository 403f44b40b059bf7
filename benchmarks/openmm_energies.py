"""Energies of 16 x 100 images of alanine dipeptide: tpsctl beside the bare OpenMM loop and a Context per image.

    python -m benchmarks.openmm_energies

The ways take turns, so that other work on the machine hits them alike; medians over the rounds are reported.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import openmm
import torch

from benchmarks.alanine_controls import RECIPE, RESULTS, machine
from tpsctl import assemble
from tpsctl.forcefield import create_system
from tpsctl.output.atomic import write_text
from tpsctl.recipe import models
from tpsctl.recipe.loader import load_recipe
from tpsctl.validation.energy import EnergyModel, Restraint

IMAGES = 16 * 100
FRESH = 50
"""Contexts made one by one; their time is scaled to all images."""
ROUNDS = 15
FORCE_FIELD = ("amber99sbildn.xml",)


def main() -> None:
    system = assemble.make_system(load_recipe(RECIPE, models.Recipe).endpoints)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, *system.ends.shape[1:])
    x = system.ends[0] + 0.003 * torch.randn(shape, generator=generator, dtype=torch.float64)
    frames = x.numpy()
    openmm_system = create_system(system.topology, FORCE_FIELD)
    reference = openmm.Platform.getPlatformByName("Reference")

    def context() -> openmm.Context:
        return openmm.Context(openmm_system, openmm.VerletIntegrator(0.001), reference)

    def energy(one: openmm.Context, frame: object) -> float:
        one.setPositions(frame)
        return one.getState(energy=True).getPotentialEnergy()._value

    kept = context()
    build = time.perf_counter()
    automatic = EnergyModel(system.topology, FORCE_FIELD, system.ends[0])
    build = time.perf_counter() - build
    one = EnergyModel(system.topology, FORCE_FIELD, system.ends[0], platform="Reference", threads=1)
    ways: dict[str, Callable[[], object]] = {
        "a Context per image": lambda: [energy(context(), frame) for frame in frames[:FRESH]],
        "bare loop": lambda: [energy(kept, frame) for frame in frames],
        "tpsctl, one thread": lambda: one.energies(x),
        "tpsctl, all threads": lambda: automatic.energies(x),
        "tpsctl, minimized, one thread": lambda: one.minimize(x, Restraint()),
        "tpsctl, minimized, all threads": lambda: automatic.minimize(x, Restraint()),
    }
    seconds = {name: [] for name in ways}
    for turn in range(ROUNDS):
        for name, way in ways.items():
            if "minimized" in name and turn >= 3:
                continue
            started = time.perf_counter()
            way()
            seconds[name].append((time.perf_counter() - started) * (IMAGES / FRESH if "Context" in name else 1))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    report = {"machine": machine(), "images": IMAGES, "atoms": x.shape[1], "platform": automatic.platform}
    report |= {"threads": automatic.threads, "build_seconds": build, "seconds": medians}
    Path(RESULTS).mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / "openmm_energies.json", json.dumps(report, indent=1) + "\n")
    for name, value in medians.items():
        print(f"{name:32s} {1000 * value:9.1f} ms   {value / medians['bare loop']:6.2f} x bare loop")


if __name__ == "__main__":
    main()

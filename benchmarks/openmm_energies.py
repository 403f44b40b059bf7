"""Energies of 16 x 100 images of alanine dipeptide: tpsctl beside the bare OpenMM loop and a Context per image.

    python -m benchmarks.openmm_energies

The ways take turns, so that other work on the machine hits them alike; medians over the rounds are reported.
"A process per core" is how `tpsctl sample` works on small molecules: each process has its own paths and its own
Context from the start; here they are told to begin at the same moment, and the last one to end counts.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection

import openmm
import torch

from benchmarks.report import ROOT, Table, in_turns, machine, medians, write_report
from tpsctl.molecule.force_field import create_system
from tpsctl.recipe import sample as models
from tpsctl.recipe.loader import load_recipe
from tpsctl.validation.energy import EnergyModel, Restraint
from tpsctl.workflows.sample import assemble

RECIPE = ROOT / "recipes" / "alanine_dipeptide.yaml"
IMAGES = 16 * 100
FRESH = 50
"""Contexts made one by one; their time is scaled to all images."""
ROUNDS = 15
FORCE_FIELD = ("amber99sbildn.xml",)


class Process:
    """One of the processes of a run, with an energy model and its share of the images."""

    def __init__(self, share: torch.Tensor):
        here, there = multiprocessing.Pipe()
        self._pipe = here
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, share), daemon=True)
        self._process.start()
        self.wait()

    def start(self, what: str) -> None:
        self._pipe.send(what)

    def wait(self) -> None:
        self._pipe.recv()

    def close(self) -> None:
        self._pipe.send("end")
        self._process.join()


def _serve(pipe: Connection, share: torch.Tensor) -> None:
    system = assemble.make_system(load_recipe(RECIPE, models.SampleRecipe).endpoints)
    model = EnergyModel(system.topology, FORCE_FIELD, system.ends[0], platform="Reference", threads=1)
    torch.set_num_threads(1)
    pipe.send("ready")
    while (what := pipe.recv()) != "end":
        _ = model.energies(share) if what == "energies" else model.minimize(share, Restraint())
        pipe.send("done")


def together(processes: list[Process], what: str) -> None:
    for process in processes:
        process.start(what)
    for process in processes:
        process.wait()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    facts = machine()
    system = assemble.make_system(load_recipe(RECIPE, models.SampleRecipe).endpoints)
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
    stack = ExitStack()
    cores = len(os.sched_getaffinity(0))
    processes = [Process(share) for share in x.chunk(cores)]
    for process in processes:
        stack.callback(process.close)
    ways: dict[str, Callable[[], object]] = {
        "a Context per image": lambda: [energy(context(), frame) for frame in frames[:FRESH]],
        "bare loop": lambda: [energy(kept, frame) for frame in frames],
        "tpsctl, one thread": lambda: one.energies(x),
        "tpsctl, all threads": lambda: automatic.energies(x),
        "tpsctl, a process per core": lambda: together(processes, "energies"),
    }
    minimized = {
        "tpsctl, minimized, one thread": lambda: one.minimize(x, Restraint()),
        "tpsctl, minimized, all threads": lambda: automatic.minimize(x, Restraint()),
        "tpsctl, minimized, a process per core": lambda: together(processes, "minimized"),
    }
    with stack:
        seconds = in_turns(ways, rounds=ROUNDS) | in_turns(minimized, rounds=3, warm_up=0)
    seconds["a Context per image"] = [value * IMAGES / FRESH for value in seconds["a Context per image"]]
    middle = medians(seconds)
    rows = [[name, 1000 * value, value / middle["bare loop"]] for name, value in middle.items()]
    table = Table(f"Energies of {IMAGES} images of alanine dipeptide", ["way", "ms", "times the bare loop"], rows)
    facts |= {"platform": automatic.platform, "threads": automatic.threads}
    write_report("openmm_energies", facts, {"build_seconds": build, "seconds": middle}, [table])


if __name__ == "__main__":
    main()

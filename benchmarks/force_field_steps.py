"""Optimization steps with a force field as the prior, at the size of a small protein.

    python -m benchmarks.force_field_steps [--residues 15] [--images 6] [--rounds 3]

A capped polyalanine (15 residues: 162 atoms) with amber14 in vacuum and with GBn2. A Levenberg-Marquardt step with the
Jacobian in closed form (`tpsctl.molecule.curvature`) is compared with one by central differences of forces on OpenMM's
fastest platform, as tpsctl had it before; one step of L-BFGS and of Adam, which need no Jacobian, are measured for
comparison. Every measurement has a process of its own with one thread, so that peak memory is its own; the two ways
take turns. Seconds are processor time, which other work on the machine changes little.
"""

import argparse
import multiprocessing
import statistics
import time
from typing import Any

import torch

from benchmarks.capped_peptides import crude
from benchmarks.report import Table, machine, memory_mb, write_report
from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.optimize import LBFGS, Adam, Convergence, LevenbergMarquardt
from tpsctl.prior.openmm import OpenMMPrior
from tpsctl.score.base import FiniteDifferenceScore

NEVER = Convergence(0.0, 0.0)
FORCE_FIELDS = {
    "vacuum": ("amber14-all.xml",),
    "GBn2": ("amber14-all.xml", "implicit/gbn2.xml"),
}
METHODS = {
    "levenberg_marquardt": lambda steps: LevenbergMarquardt(max_steps=steps, convergence=NEVER, solver="block"),
    "lbfgs": lambda steps: LBFGS(max_steps=steps, convergence=NEVER),
    "adam": lambda steps: Adam(learning_rate_nm=1e-5, max_steps=steps, convergence=NEVER),
}
TEMPERATURE_K = 300.0
STEPS = 2


def seconds_of_step(where: str, way: str, method: str, residues: int, images: int) -> dict[str, float]:
    """Processor seconds and megabytes of one step of an optimizer, the second: the first takes no Jacobian."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    topology, x = crude(["ALA"] * residues, FORCE_FIELDS[where])
    prior = OpenMMPrior(
        topology, FORCE_FIELDS[where], temperature_k=TEMPERATURE_K, reference=x, platform="auto", threads=1
    )
    score = prior.at(0.0)
    if way == "differences":
        kt, step_nm = score._kt, score._step_nm  # type: ignore[attr-defined]
        score = FiniteDifferenceScore(lambda y: prior.forces(y) / kt, step_nm=step_nm)
    motion = Dynamics.langevin(
        dt_ps=1e-3, masses_amu=prior.masses_amu, friction_per_ps=1.0, temperature_k=TEMPERATURE_K
    )
    action = TruncatedAction(score, motion)
    generator = torch.Generator().manual_seed(0)
    paths = x + 1e-3 * torch.randn(1, images, *x.shape, generator=generator)
    action.value_and_gradient(paths[:, :3])  # Contexts are made
    idle, marks = memory_mb("VmRSS"), [time.process_time()]
    METHODS[method](STEPS).minimize(action, paths, on_step=lambda report: marks.append(time.process_time()))
    took = [after - before for before, after in zip(marks, marks[1:], strict=False)]
    return {"seconds": took[1], "peak_mb": memory_mb("VmHWM") - idle, "atoms": len(x), "platform": prior.pool.platform}


def in_own_process(*arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(seconds_of_step, arguments)


def measure(where: str, residues: int, images: int, rounds: int) -> dict[str, Any]:
    """All ways with one force field."""
    found: dict[str, list[dict[str, Any]]] = {}
    ways = [("closed", "levenberg_marquardt"), ("differences", "levenberg_marquardt")]
    for _ in range(rounds):
        for way, method in [*ways, ("closed", "lbfgs"), ("closed", "adam")]:
            name = way if method == "levenberg_marquardt" else method
            found.setdefault(name, []).append(in_own_process(where, way, method, residues, images))
    middle = {
        name: {key: statistics.median(part[key] for part in parts) for key in ("seconds", "peak_mb")}
        for name, parts in found.items()
    }
    return {"atoms": found["closed"][0]["atoms"], "platform": found["closed"][0]["platform"], "steps": middle}


HEAD = (
    "force field",
    "atoms",
    "platform",
    "Levenberg-Marquardt, differences, s",
    "closed, s",
    "ratio",
    "differences, MB",
    "closed, MB",
    "L-BFGS, s",
    "Adam, s",
)


def row(where: str, found: dict[str, Any]) -> list[Any]:
    """A force field's line in the table."""
    steps = found["steps"]
    before, after = steps["differences"], steps["closed"]
    times = [before["seconds"], after["seconds"], before["seconds"] / after["seconds"]]
    others = [steps[name]["seconds"] for name in ("lbfgs", "adam")]
    return [where, found["atoms"], found["platform"], *times, before["peak_mb"], after["peak_mb"], *others]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--residues", type=int, default=15)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    facts = machine() | {"threads": 1, "residues": given.residues, "images": given.images}
    found = {where: measure(where, given.residues, given.images, given.rounds) for where in FORCE_FIELDS}
    title = f"One optimization step of a path of {given.images} images, capped polyalanine, amber14"
    table = Table(title, HEAD, [row(where, part) for where, part in found.items()])
    write_report("force_field_steps", facts, {"force_fields": found}, [table])


if __name__ == "__main__":
    main()

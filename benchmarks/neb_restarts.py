"""ASE's climbing-image NEB, restarted from differing guesses, beside the search for routes at the same cost.

    python -m benchmarks.neb_restarts MOLECULES PANEL.json [--only NAME,NAME] [--seeds 1,2] [--guess ase]

PANEL.json is what `panel.py` has written: for the molecule and seed it tells how many force-equivalents the search for
routes spent until it was complete. NEB gets as many, with 24 images. Its guesses are by default those of the search:
first all torsions turn the short way, then every one at random (`TurningGuesses`), with clashes removed. With `--guess
ase` they are what ASE itself offers: first its IDPP path, then IDPP from the straight path with random displacements of
its inner images (0.05 nm per coordinate in the middle). Bands are relaxed with FIRE to
0.1 eV/angstrom, then climb with L-BFGS to 0.02 eV/angstrom, each for at most 300 steps. To be fair to NEB, the highest
image is refined to a saddle by eigenvector following, also at its cost. NEB has succeeded when the highest saddle of a
band is that of the lowest route known (`panel.CASES`), and its seconds and forces are those until then: a user of NEB,
who does not know the lowest route, would have to go on.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from ase import Atoms
from ase.mep.neb import idpp_interpolate

from benchmarks.neb import converge_band
from benchmarks.panel import CASES, load_case, molecule_of
from tpsctl.landscape.attempts import IMAGES, GuessFn
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.saddle import climb_to_saddles
from tpsctl.molecule.geometry import superpose

MAX_STEPS = 300
THRESHOLD_EV_PER_ANGSTROM = 0.02


DISPLACED_NM = 0.05
"""Standard deviation of the displacements of the middle image, per coordinate, in ASE's guesses after the first."""


def ase_guess(ends: torch.Tensor, images: int, generator: torch.Generator, attempt: int) -> torch.Tensor:
    """An IDPP path (image, atom, 3), nm, between ends (2, atom, 3), nm, as ASE makes it; displaced after attempt 0."""
    s = torch.linspace(0, 1, images).reshape(-1, 1, 1)
    path = (1 - s) * ends[0] + s * superpose(ends[1], ends[0])
    if attempt:
        path = path + DISPLACED_NM * torch.sin(math.pi * s) * torch.randn(ends[0].shape, generator=generator)
    band = [Atoms(f"H{len(x)}", positions=x.numpy() * 10) for x in path]
    idpp_interpolate(band, traj=None, log=None, fmax=0.1, steps=200)
    return torch.stack([torch.from_numpy(atoms.positions / 10) for atoms in band])


def restarted(name: str, seed: int, folder: Path, budget: int, guess_of: GuessFn | None = None) -> dict:
    """The highest saddles of bands from differing guesses, kJ/mol above A, until the budget of forces is spent."""
    case = CASES[name]
    topology, ends, files = load_case(case, folder)
    molecule = molecule_of(topology, ends[0], files, keep_labels=case.keep_labels)
    guess_of = guess_of or molecule.guess
    started, forces = time.process_time(), 0
    minima = minimize(molecule.surface, ends, molecule.coordinates)
    zero = float(minima.energy[0])
    generator = torch.Generator().manual_seed(seed)
    tops: list[float | None] = []
    found = None
    while found is None and forces + molecule.surface.evaluations < budget:
        guess = guess_of(minima.x, IMAGES, generator, len(tops))
        band = converge_band(guess, topology, files, max_steps=MAX_STEPS, threshold=THRESHOLD_EV_PER_ANGSTROM)
        forces += band.force_calls
        top = band.x[band.top][None]
        along = (band.x[min(band.top + 1, IMAGES - 1)] - band.x[max(band.top - 1, 0)]).reshape(1, -1)
        saddle = climb_to_saddles(molecule.surface, top, molecule.coordinates, [generator], along)
        tops.append(round(float(saddle.energy[0]) - zero, 2) if saddle.converged[0] else None)
        right = tops[-1] is not None and abs(tops[-1] - case.expected) <= 0.05
        if right and found is None:
            found = {"forces": forces + molecule.surface.evaluations, "seconds": time.process_time() - started}
    return {
        "molecule": name,
        "seed": seed,
        "expected": case.expected,
        "tops": tops,
        "lowest": min((top for top in tops if top is not None), default=None),
        "success": found is not None,
        "forces_to_find": found and found["forces"],
        "seconds_to_find": found and round(found["seconds"], 1),
        "bands": len(tops),
        "budget": budget,
        "seconds": round(time.process_time() - started, 1),
    }


def table(rows: list[dict], panel: dict) -> str:
    """Both methods side by side, in markdown."""
    lines = [
        "| molecule | seed | expected, kJ/mol | force-equivalents of each | tpsctl barrier | s until found | "
        "forces until found | NEB lowest verified | NEB bands | s until found | forces until found |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = panel[row["molecule"], row["seed"]]
        lines.append(
            f"| {row['molecule']} | {row['seed']} | {row['expected']} | {row['budget']} | {ours['barrier']} | "
            f"{ours['seconds_to_find']} | {ours['evaluations_to_find']} | {row['lowest']} | {row['bands']} | "
            f"{row['seconds_to_find'] or 'not found'} | {row['forces_to_find'] or 'not found'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("panel", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", default="1,2,3,4")
    parser.add_argument("--guess", choices=("search", "ase"), default="search")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    panel = {(r["molecule"], r["seed"]): r for r in json.loads(options.panel.read_text(encoding="utf-8"))}
    ours = options.guess == "search"
    out = options.panel.with_name("neb_restarts.json" if ours else "neb_restarts_ase.json")
    rows = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    for name in [name for name in CASES if not options.only or name in options.only.split(",")]:
        for seed in [int(seed) for seed in options.seeds.split(",")]:
            if (name, seed) in panel:
                rows = [row for row in rows if (row["molecule"], row["seed"]) != (name, seed)]
                budget = panel[name, seed]["evaluations"]
                rows.append(restarted(name, seed, options.folder, budget, None if ours else ase_guess))
                print(rows[-1], flush=True)
                out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
                out.with_suffix(".md").write_text(table(rows, panel), encoding="utf-8")


if __name__ == "__main__":
    main()

"""A second, independent search for the lowest trans-cis pass of ACE-PRO-NME in GBn2 water, by geomeTRIC and SciPy.

    python -m benchmarks.independent_search MOLECULES [--seeds 1,2,3,4] [--guesses N] [--out FILE.json]

MOLECULES is the folder with ace_pro_nme_trans.pdb. Nothing of tpsctl's search takes part, only its energies and forces:
the peptide bond is turned by about +90 or -90 degrees, psi by a random angle, and every atom is displaced at random by
0.01 nm, which puckers the ring either way. SciPy's L-BFGS relaxes the strain for a few steps, geomeTRIC walks to a
transition state (Hessian by differences of forces, trust radius, TRIC coordinates), and L-BFGS falls from both sides of
it. The lowest transition state with one negative curvature that joins a trans and a cis minimum is the answer, to be
compared with the highest saddle of the route that `python -m benchmarks.panel --only "ACE-PRO-NME GBn2"` finds.
"""

import argparse
import contextlib
import io
import json
import math
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from geometric.engine import Engine
from geometric.molecule import Molecule
from geometric.optimize import run_optimizer
from scipy.optimize import minimize

from benchmarks.panel import CASES, load_case, molecule_of
from tpsctl.landscape.attempts import SearchedMolecule
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology

KJ_PER_HARTREE = 2625.4996394799
NM_PER_BOHR = 0.0529177210903


def relaxed(surface: Surface, x: torch.Tensor, steps: int = 5000) -> tuple[torch.Tensor, float]:
    """A structure, nm, after steps of L-BFGS, and its energy, kJ/mol."""

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = surface.energy_gradient(torch.from_numpy(flat.reshape(1, -1, 3)))
        return float(energy[0]), gradient.flatten().numpy()

    options = {"maxiter": steps, "gtol": 1e-3, "ftol": 0.0, "maxfun": 20 * steps}
    found = minimize(value, x.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(found.x.reshape(-1, 3)), float(found.fun)


MOST_STEPS = 80
"""Steps after which geomeTRIC gives up on a random guess."""


def transition_state(
    surface: Surface, topology: Topology, x: torch.Tensor, most_steps: int = MOST_STEPS
) -> torch.Tensor | None:
    """geomeTRIC's transition state, nm; None where it gives up."""
    molecule = Molecule()
    molecule.elem = [atom.element for atom in topology.atoms]
    molecule.xyzs = [(x * 10).numpy()]

    class ForceField(Engine):
        def calc_new(self, coords: np.ndarray, dirname: str) -> dict:
            energy, gradient = surface.energy_gradient(torch.from_numpy(coords.reshape(1, -1, 3)) * NM_PER_BOHR)
            per_bohr = gradient.flatten().numpy() * NM_PER_BOHR / KJ_PER_HARTREE
            return {"energy": float(energy[0]) / KJ_PER_HARTREE, "gradient": per_bohr}

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                progress = run_optimizer(
                    customengine=ForceField(molecule),
                    input="saddle.txt",
                    transition=True,
                    hessian="first",
                    coordsys="tric",
                    convergence_set="GAU_VERYTIGHT",
                    maxiter=most_steps,
                )
        except Exception:  # geomeTRIC has its own errors for every way of giving up
            return None
        finally:
            os.chdir(before)
    return torch.from_numpy(progress.xyzs[-1]) / 10


def lowest_mode(surface: Surface, x: torch.Tensor, step_nm: float = 1e-5) -> tuple[int, torch.Tensor]:
    """Number of negative curvatures (below -1 kJ/mol/nm^2) and the lowest mode, from differences of forces."""
    shifts = step_nm * torch.eye(x.numel()).reshape(-1, *x.shape)
    ahead, behind = (surface.energy_gradient(x + sign * shifts)[1].flatten(1) for sign in (1, -1))
    hessian = (ahead - behind) / (2 * step_nm)
    values, vectors = torch.linalg.eigh((hessian + hessian.T) / 2)
    return int((values < -1.0).sum()), vectors[:, 0].reshape(x.shape)


def search(molecule: SearchedMolecule, topology: Topology, start: torch.Tensor, seed: int, guesses: int) -> dict:
    """The lowest trans-cis transition state found from random guesses, kJ/mol above the relaxed start."""
    surface, bonds = molecule.surface, molecule.bonds
    named = dict(topology.backbone_dihedrals)
    omega = torch.tensor([named["omega PRO2"]])
    middle = {name: frozenset(named[name][1:3]) for name in ("omega PRO2", "psi PRO2")}
    bond = {
        name: next(k for k, (_, b, c, _) in enumerate(bonds.dihedrals) if {b, c} == pair)
        for name, pair in middle.items()
    }
    generator = torch.Generator().manual_seed(seed)
    first, zero = relaxed(surface, start)
    began, found = time.process_time(), []
    for _ in range(guesses):
        sign = 2 * int(torch.randint(2, (), generator=generator)) - 1
        chance = torch.rand(2, generator=generator)
        x = bonds.turned(first, bond["omega PRO2"], sign * math.radians(75 + 30 * float(chance[0])))
        x = bonds.turned(x, bond["psi PRO2"], 2 * math.pi * float(chance[1]))
        x = x + 0.01 * torch.randn(x.shape, generator=generator)
        x, _ = relaxed(surface, x, steps=8)
        saddle = transition_state(surface, topology, x)
        if saddle is None:
            continue
        negative, mode = lowest_mode(surface, saddle)
        energy, gradient = surface.energy_gradient(saddle[None])
        if negative != 1 or float(gradient.norm()) > 1.0:
            continue
        sides = [relaxed(surface, saddle + s * 0.005 * mode)[0] for s in (1, -1)]
        cis = [abs(float(dihedral(y[None], omega)[0, 0])) < math.pi / 2 for y in sides]
        if cis[0] != cis[1]:
            found.append(round(float(energy[0]) - zero, 3))
            print(f"seed {seed}: a trans-cis pass at {found[-1]} kJ/mol", flush=True)
    return {
        "seed": seed,
        "guesses": guesses,
        "passes": sorted(found),
        "lowest": min(found, default=None),
        "seconds": round(time.process_time() - began, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="1,2,3,4")
    parser.add_argument("--guesses", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    case = CASES["ACE-PRO-NME GBn2"]
    topology, ends, files = load_case(case, options.folder)
    molecule = molecule_of(topology, ends[0], files)
    rows = []
    for seed in (int(seed) for seed in options.seeds.split(",")):
        rows.append(search(molecule, topology, ends[0], seed, options.guesses))
        print(rows[-1], flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

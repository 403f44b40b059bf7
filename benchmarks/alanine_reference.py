"""Reference answers for alanine dipeptide (ACE-ALA-NME, amber99sbildn, vacuum), from nothing.

Finds the minima C7eq and C7ax, the saddles between them by eigenvector following, and the minimum
energy path through the lowest saddle by integrating steepest descent on both sides. Nothing here uses
a learned model, a path optimizer or any file: these are the numbers that paths are judged by.

    python -m benchmarks.alanine_reference --out runs/alanine-reference
    python -m benchmarks.alanine_reference --endpoints recipes/alanine_dipeptide     # rewrite c7eq.pdb, c7ax.pdb

Steepest descent is integrated in Cartesian coordinates (no mass weighting) by the local quadratic
approximation: within a step, dx/ds = -g along the exact Hessian's modes, x(s) solved in closed form.
The two end points are the two ends of that path, so equivalent hydrogens carry the labels with which
no methyl turns on the way (matching them by least RMSD instead would turn two methyls by 120 degrees).
Source: Page and McIver, J. Chem. Phys. 88 (1988) 922.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app, unit

from tpsctl.molecule.force_field import create_system, openmm_topology
from tpsctl.molecule.geometry import dihedral, superpose
from tpsctl.simulation.dataset import write_arrays
from tpsctl.simulation.molecule import Molecule, build_capped_alanine

FORCE_FIELD = ("amber99sbildn.xml",)
ZERO_MODES = 6
LOWEST_SADDLE = "saddle phi 0"
SADDLE_GUESSES = {
    LOWEST_SADDLE: (0, -30),
    "saddle phi 0, psi 67": (0, 70),  # a second way from C7eq to C7ax over phi = 0
    "saddle phi 130": (130, -40),
    "saddle phi 120, C5": (120, 175),
}
FRAMES_PER_SIDE = 40


@dataclass(frozen=True)
class Stationary:
    """A stationary point: positions nm, energy kJ/mol, largest force component kJ/mol/nm, negative modes."""

    x: np.ndarray
    energy: float
    largest_force: float
    negative_modes: int
    lowest_mode: np.ndarray


class Surface:
    """Energy, forces and Hessian of the molecule in double precision (OpenMM Reference platform)."""

    def __init__(self, molecule: Molecule) -> None:
        self.topology = molecule.topology
        named = dict(self.topology.backbone_dihedrals)
        self.phi_psi = torch.tensor([named["phi ALA2"], named["psi ALA2"]])
        system = create_system(molecule.topology, FORCE_FIELD)
        for force in system.getForces():
            force.setForceGroup(0)
        self._restraint = openmm.CustomTorsionForce("k*(1-cos(theta-theta0))")
        self._restraint.addGlobalParameter("k", 0.0)
        self._restraint.addPerTorsionParameter("theta0")
        for quadruple in self.phi_psi.tolist():
            self._restraint.addTorsion(*quadruple, [0.0])
        self._restraint.setForceGroup(1)
        system.addForce(self._restraint)
        self._context = openmm.Context(
            system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
        )

    def energy(self, x: np.ndarray) -> float:
        """Potential energy, kJ/mol."""
        self._context.setPositions(x)
        return self._context.getState(energy=True, groups={0}).getPotentialEnergy()._value

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """dE/dx as a flat vector, kJ/mol/nm."""
        self._context.setPositions(x)
        force = self._context.getState(forces=True, groups={0}).getForces(asNumpy=True)
        return -np.asarray(force._value, dtype=float).ravel()

    def hessian(self, x: np.ndarray, step_nm: float = 1e-5) -> np.ndarray:
        """Central differences of the forces, symmetrized, kJ/mol/nm^2."""
        columns = []
        for j in range(x.size):
            shift = np.zeros(x.size)
            shift[j] = step_nm
            shift = shift.reshape(x.shape)
            columns.append((self.gradient(x + shift) - self.gradient(x - shift)) / (2 * step_nm))
        matrix = np.array(columns)
        return (matrix + matrix.T) / 2

    def angles(self, x: np.ndarray) -> np.ndarray:
        """(phi, psi) in degrees."""
        return np.degrees(dihedral(torch.as_tensor(x), self.phi_psi).numpy())

    def relax(self, x: np.ndarray, *, at_degrees: tuple[float, float] | None = None) -> np.ndarray:
        """Minimized positions, with phi and psi held near `at_degrees` if given."""
        for i, quadruple in enumerate(self.phi_psi.tolist()):
            target = math.radians(at_degrees[i]) if at_degrees is not None else 0.0
            self._restraint.setTorsionParameters(i, *quadruple, [target])
        self._restraint.updateParametersInContext(self._context)
        self._context.setParameter("k", 2000.0 if at_degrees is not None else 0.0)
        self._context.setPositions(x)
        openmm.LocalEnergyMinimizer.minimize(self._context, 0.01)
        self._context.setParameter("k", 0.0)
        return np.array(self._context.getState(positions=True).getPositions(asNumpy=True)._value, dtype=float)

    def drive(self, x: np.ndarray, target: tuple[float, float], *, steps: int = 24) -> np.ndarray:
        """phi and psi turned to `target` in small relaxed steps, so that no label or chirality changes."""
        start = self.angles(x)
        turn = (np.array(target) - start + 180) % 360 - 180
        for i in range(1, steps + 1):
            phi, psi = start + turn * i / steps
            x = self.relax(x, at_degrees=(phi, psi))
        return x


def modes(surface: Surface, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (kJ/mol/nm^2, ascending) and vectors (columns) without translations and rotations."""
    centered = x - x.mean(0)
    rigid = [np.tile(axis, len(x)) for axis in np.eye(3)] + [np.cross(axis, centered).ravel() for axis in np.eye(3)]
    basis = np.linalg.svd(np.array(rigid), full_matrices=True)[2][ZERO_MODES:].T
    values, vectors = np.linalg.eigh(basis.T @ surface.hessian(x) @ basis)
    return values, basis @ vectors


def find_stationary(surface: Surface, x: np.ndarray, *, saddle: bool, max_step_nm: float = 0.01) -> Stationary:
    """Newton steps downhill along every mode, uphill along the lowest one for a saddle, to max|F| < 1e-6."""
    for _ in range(500):
        gradient = surface.gradient(x)
        values, vectors = modes(surface, x)
        if np.abs(gradient).max() < 1e-6:
            break
        along = vectors.T @ gradient
        curvature = np.maximum(np.abs(values), 10.0)
        if saddle:
            curvature[0] *= -1
        step = vectors @ (-along / curvature)
        step *= min(1.0, max_step_nm / np.linalg.norm(step))
        x = x + step.reshape(x.shape)
    return Stationary(
        x, surface.energy(x), float(np.abs(surface.gradient(x)).max()), int((values < 0).sum()), vectors[:, 0]
    )


def descend(surface: Surface, x: np.ndarray, *, step_nm: float = 0.001, max_steps: int = 5000) -> np.ndarray:
    """Steepest-descent path (frame, atom, 3) from x to the minimum below it."""
    path = [x]
    for _ in range(max_steps):
        gradient = surface.gradient(x)
        if np.abs(gradient).max() < 0.05:
            break
        values, vectors = modes(surface, x)
        x = x + (vectors @ _quadratic_descent(values, vectors.T @ gradient, step_nm)).reshape(x.shape)
        path.append(x)
    return np.array(path)


def _quadratic_descent(values: np.ndarray, along: np.ndarray, length_nm: float) -> np.ndarray:
    """Displacement of dx/ds = -(g + k x) per mode over the time in which the arc grows to length_nm."""

    def displacement(s: float) -> np.ndarray:
        return along * np.where(np.abs(values * s) > 1e-12, np.expm1(-values * s) / values, -s)

    low, high = 0.0, 1e-12
    while np.linalg.norm(displacement(high)) < length_nm and high < 10:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(displacement(middle)) < length_nm else (low, middle)
    return displacement(low)


def minimum_energy_path(surface: Surface, saddle: Stationary) -> np.ndarray:
    """Path through a saddle, from the minimum on one side to the minimum on the other, all steps kept."""
    sides = []
    for sign in (1, -1):
        start = saddle.x + sign * 0.001 * saddle.lowest_mode.reshape(saddle.x.shape)
        side = descend(surface, start)
        end = find_stationary(surface, side[-1], saddle=False)
        sides.append(np.concatenate([side, end.x[None]]))
    return np.concatenate([sides[0][::-1], saddle.x[None], sides[1]])


def resample(path: np.ndarray, saddle_index: int, frames_per_side: int) -> np.ndarray:
    """Frames equidistant in arc length on each side; the saddle is the middle frame."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path.reshape(len(path), -1), axis=0), axis=1))])
    wanted = np.concatenate(
        [
            np.linspace(0, arc[saddle_index], frames_per_side + 1)[:-1],
            np.linspace(arc[saddle_index], arc[-1], frames_per_side + 1),
        ]
    )
    flat = path.reshape(len(path), -1)
    columns = [np.interp(wanted, arc, flat[:, j]) for j in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(-1, *path.shape[1:])


def _superposed(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return superpose(torch.as_tensor(x), torch.as_tensor(target)).numpy()


def write_pdb(path: Path, molecule: Molecule, x: np.ndarray) -> None:
    """One structure as PDB (Angstrom to three decimals, so forces of up to 70 kJ/mol/nm are left), without a date."""
    topology = openmm_topology(molecule.topology)
    with path.open("w") as file:
        app.PDBFile.writeModel(topology, x * unit.nanometer, file, keepIds=True)
        app.PDBFile.writeFooter(topology, file)


def write_path(surface: Surface, file: Path, path: np.ndarray, saddle: Stationary, lowest: float) -> None:
    """Path as .npz: x (nm), energy above C7eq (kJ/mol), force (kJ/mol/nm), phi and psi (degrees), arc length (nm)."""
    top = int(np.argmin(np.linalg.norm((path - saddle.x).reshape(len(path), -1), axis=1)))
    frames = resample(path, top, FRAMES_PER_SIDE)
    lengths = np.linalg.norm(np.diff(frames.reshape(len(frames), -1), axis=0), axis=1)
    arrays = {
        "positions": frames,
        "energies": np.array([surface.energy(x) - lowest for x in frames]),
        "forces": np.array([-surface.gradient(x).reshape(x.shape) for x in frames]),
        "angles_deg": np.array([surface.angles(x) for x in frames]),
        "arc_length_nm": np.concatenate([[0], np.cumsum(lengths)]),
        "saddle_frame": np.array(FRAMES_PER_SIDE),
    }
    write_arrays(file, arrays)


def find_all(surface: Surface, start: np.ndarray) -> tuple[dict[str, Stationary], np.ndarray]:
    """Minima and saddles by name, and the path C7eq -> C7ax through the lowest saddle."""
    c7eq = find_stationary(surface, surface.relax(start), saddle=False)
    found = {"C7eq": c7eq}
    for name, angles in SADDLE_GUESSES.items():
        found[name] = find_stationary(surface, surface.drive(c7eq.x, angles), saddle=True)
    path = minimum_energy_path(surface, found[LOWEST_SADDLE])
    if surface.angles(path[0])[0] > 0:
        path = path[::-1]
    if abs(surface.energy(path[0]) - c7eq.energy) > 1e-6:
        raise RuntimeError("the path through the lowest saddle does not end in C7eq")
    found["C7eq"] = find_stationary(surface, path[0], saddle=False)  # labelled as the path leaves it
    found["C7ax"] = find_stationary(surface, path[-1], saddle=False)
    return found, path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/alanine-reference"), help="folder for the results")
    parser.add_argument("--endpoints", type=Path, help="also write c7eq.pdb and c7ax.pdb to this folder")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    started = time.perf_counter()
    molecule = build_capped_alanine()
    surface = Surface(molecule)
    found, path = find_all(surface, molecule.x)
    lowest = found["C7eq"].energy
    write_path(surface, arguments.out / "mep.npz", path, found[LOWEST_SADDLE], lowest)
    if arguments.endpoints is not None:
        arguments.endpoints.mkdir(parents=True, exist_ok=True)
        write_pdb(arguments.endpoints / "c7eq.pdb", molecule, found["C7eq"].x)
        write_pdb(arguments.endpoints / "c7ax.pdb", molecule, _superposed(found["C7ax"].x, found["C7eq"].x))

    report = {name: _report(surface, point, lowest) for name, point in found.items()}
    (arguments.out / "reference.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{'point':20s} {'kJ/mol':>8s} {'phi':>7s} {'psi':>7s} {'max|F|':>8s} negative modes")
    for name, row in report.items():
        print(
            f"{name:20s} {row['energy_above_c7eq_kj_per_mol']:8.3f} {row['phi_deg']:7.1f} {row['psi_deg']:7.1f} "
            f"{row['largest_force_kj_per_mol_nm']:8.0e} {row['negative_modes']}"
        )
    print(f"{time.perf_counter() - started:.0f} s; results in {arguments.out}")


def _report(surface: Surface, point: Stationary, lowest: float) -> dict[str, float]:
    phi, psi = surface.angles(point.x)
    return {
        "energy_above_c7eq_kj_per_mol": point.energy - lowest,
        "energy_kj_per_mol": point.energy,
        "phi_deg": float(phi),
        "psi_deg": float(psi),
        "largest_force_kj_per_mol_nm": point.largest_force,
        "negative_modes": point.negative_modes,
    }


if __name__ == "__main__":
    main()

"""A converged climbing-image nudged elastic band on the force field, with ASE: the reference for paths.

ASE does the band and the optimizer (`ase.mep.NEB`, improved tangents, rotations removed; FIRE, then the climbing
image with L-BFGS), OpenMM's Reference platform the forces, in double precision. "Converged" is what is checked here
and not what an optimizer says: the force on the climbing image itself, and one negative eigenvalue of its Hessian.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.mep import NEB
from ase.optimize import FIRE, LBFGS

from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.topology import Topology

_EV_PER_KJ = units.kJ / units.mol
_PER_ANGSTROM = 10.0
_SPRING = 0.1  # eV/angstrom^2; the default of ASE
_RELAXED_EV_PER_ANGSTROM = 0.1
_CONVERGED_EV_PER_ANGSTROM = 3e-4  # 0.29 kJ/mol/nm
_NOTICEABLE_CURVATURE = -1.0  # kJ/mol/nm^2; rigid motions have 0 within 1e-2


@dataclass(frozen=True)
class Band:
    """A finished band.

    Attributes:
        x: Images (image, atom, 3), nm.
        energy: kJ/mol.
        converged: Whether the forces on the band fell below the threshold.
        force_on_top: Largest component of the true force on the highest image, kJ/mol/nm.
        negative_modes: Negative eigenvalues of the Hessian there.
        force_calls: Evaluations of the force field.
        seconds: Wall time.
    """

    x: torch.Tensor
    energy: np.ndarray
    converged: bool
    force_on_top: float
    negative_modes: int
    force_calls: int
    seconds: float

    @property
    def barrier(self) -> float:
        """Highest energy above the first image, kJ/mol."""
        return float(self.energy.max() - self.energy[0])

    @property
    def top(self) -> int:
        return int(self.energy.argmax())


class ForceField:
    """Energy and force of single structures, nm and kJ/mol; counts its calls."""

    def __init__(self, topology: Topology, force_field: tuple[str, ...]) -> None:
        reference = openmm.Platform.getPlatformByName("Reference")
        system = create_system(topology, force_field)
        self._context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
        self.calls = 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        self._context.setPositions(x)
        state = self._context.getState(energy=True, forces=True)
        return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    def negative_modes(self, x: np.ndarray, step_nm: float = 1e-5) -> int:
        """Negative eigenvalues of the Hessian, by central differences of the forces."""
        columns = []
        for j in range(x.size):
            shift = np.zeros(x.size)
            shift[j] = step_nm
            ahead, behind = (self(x + sign * shift.reshape(x.shape))[1] for sign in (1, -1))
            columns.append((behind - ahead).ravel() / (2 * step_nm))
        hessian = np.array(columns)
        return int((np.linalg.eigvalsh((hessian + hessian.T) / 2) < _NOTICEABLE_CURVATURE).sum())


class _Calculator(Calculator):
    """The force field in ASE's units."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force_field: ForceField) -> None:
        super().__init__()
        self._force_field = force_field

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, force = self._force_field(atoms.positions / _PER_ANGSTROM)
        self.results = {"energy": energy * _EV_PER_KJ, "forces": force * _EV_PER_KJ / _PER_ANGSTROM}


def converge_band(
    guess: torch.Tensor,
    topology: Topology,
    force_field: tuple[str, ...],
    *,
    max_steps: int = 5000,
    threshold: float = _CONVERGED_EV_PER_ANGSTROM,
) -> Band:
    """A band from a guess (image, atom, 3), nm, whose ends stay; `threshold` is that of its forces, eV/angstrom."""
    started = time.perf_counter()
    energy_of = ForceField(topology, force_field)
    elements = [atom.element for atom in topology.atoms]
    images = [Atoms(elements, positions=x * _PER_ANGSTROM, calculator=_Calculator(energy_of)) for x in guess.numpy()]
    band = NEB(images, k=_SPRING, method="improvedtangent", remove_rotation_and_translation=True)
    FIRE(band, logfile=None).run(fmax=_RELAXED_EV_PER_ANGSTROM, steps=max_steps)
    band.climb = True
    optimizer = LBFGS(band, logfile=None, memory=100, maxstep=0.05)
    converged = bool(optimizer.run(fmax=threshold, steps=max_steps))
    x = np.array([image.positions / _PER_ANGSTROM for image in images])
    calls = energy_of.calls
    energy = np.array([energy_of(frame)[0] for frame in x])
    top = x[energy.argmax()]
    return Band(
        x=torch.from_numpy(x),
        energy=energy,
        converged=converged,
        force_on_top=float(np.abs(energy_of(top)[1]).max()),
        negative_modes=energy_of.negative_modes(top),
        force_calls=calls,
        seconds=time.perf_counter() - started,
    )

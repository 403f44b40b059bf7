"""A flat force field, as a control: it knows what holds a molecule together, and no conformation from another.

Bonds, angles, planarity and sterics (Lennard-Jones) stay; all charges and the torsion terms about the bonds of phi
and psi go. Whatever a path optimizer finds on it, it did not learn from the energy landscape.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openmm
import torch
from torch import Tensor

from tpsctl.molecule.force_field import create_system
from tpsctl.molecule.topology import Topology
from tpsctl.prior.base import Prior
from tpsctl.score.base import FiniteDifferenceScore, Score
from tpsctl.units import thermal_energy


class FlatPrior(Prior):
    """Flat force over kT; the same at every diffusion time, for it has no noise."""

    kind = "flat"
    n_dims = 3
    conservative = True

    def __init__(self, topology: Topology, force_field: tuple[str, ...], *, temperature_k: float) -> None:
        self.topology, self.n_beads, self.temperature_k = topology, topology.n_atoms, temperature_k
        self._kt = thermal_energy(temperature_k)
        reference, system = openmm.Platform.getPlatformByName("Reference"), flat_system(topology, force_field)
        count = len(os.sched_getaffinity(0))
        self._contexts = [openmm.Context(system, openmm.VerletIntegrator(0.001), reference) for _ in range(count)]

    def at(self, t: float) -> Score:
        return FiniteDifferenceScore(self._score)

    def _score(self, x: Tensor) -> Tensor:
        frames = x.detach().cpu().double().numpy()
        force = np.empty_like(frames)

        def work(k: int) -> None:
            for i in range(k, len(frames), len(self._contexts)):
                self._contexts[k].setPositions(frames[i])
                force[i] = self._contexts[k].getState(forces=True).getForces(asNumpy=True)._value

        with ThreadPoolExecutor(len(self._contexts)) as pool:
            list(pool.map(work, range(len(self._contexts))))
        return torch.from_numpy(force).to(x) / self._kt


def flat_system(topology: Topology, force_field: tuple[str, ...]) -> Any:
    """The force field's System without charges and without torsion terms about the bonds of phi and psi."""
    system = create_system(topology, force_field)
    free = {frozenset(atoms[1:3]) for name, atoms in topology.backbone_dihedrals if not name.startswith("omega")}
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            _remove_charges(force)
        if isinstance(force, openmm.PeriodicTorsionForce):
            _remove_torsions(force, topology, free)
    return system


def _remove_charges(force: Any) -> None:
    for i in range(force.getNumParticles()):
        _, sigma, epsilon = force.getParticleParameters(i)
        force.setParticleParameters(i, 0.0, sigma, epsilon)
    for k in range(force.getNumExceptions()):
        i, j, _, sigma, epsilon = force.getExceptionParameters(k)
        force.setExceptionParameters(k, i, j, 0.0, sigma, epsilon)


def _remove_torsions(force: Any, topology: Topology, bonds: set[frozenset[int]]) -> None:
    """Zero the proper torsions about these bonds; impropers, whose atoms are no chain, stay."""
    for n in range(force.getNumTorsions()):
        *atoms, periodicity, phase, k = force.getTorsionParameters(n)
        proper = all(b in topology.neighbors[a] for a, b in zip(atoms, atoms[1:], strict=False))
        if proper and frozenset(atoms[1:3]) in bonds:
            force.setTorsionParameters(n, *atoms, periodicity, phase, 0.0 * k)

"""Capped peptides from their sequence alone, and two different minima of each: molecules that no test was tuned to.

Atoms and bonds come from the force field's templates. Coordinates are made from random points by minimizing bonds and
angles first and the whole energy then, until every amino acid is L and every amide trans. The ends are minima with
phi of the first residue negative and positive, the lowest of each that short dynamics at 800 K comes upon.
"""

import math

import numpy as np
import openmm
import torch
from openmm import app

from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Atom, Topology

_KEPT = ("HarmonicBondForce", "HarmonicAngleForce")


def build(sequence: list[str], force_field: tuple[str, ...], seed: int = 0) -> tuple[Topology, torch.Tensor]:
    """Topology and two minima (2, atom, 3), nm, of ACE-sequence-NME."""
    field = app.ForceField(*force_field)
    topology = _topology(["ACE", *sequence, "NME"], field)
    molecule = _openmm(topology)
    system = field.createSystem(molecule, nonbondedMethod=app.NoCutoff)
    generator = np.random.default_rng(seed)
    context = _context(system)
    x = _embedded(topology, system, context, generator)
    return topology, _two_minima(topology, system, x, seed)


def crude(sequence: list[str], force_field: tuple[str, ...], seed: int = 0) -> tuple[Topology, torch.Tensor]:
    """Topology and a configuration (atom, 3), nm, of ACE-sequence-NME for timings: bonds and angles are sound, the fold
    and the handedness are as it happens.
    """
    field = app.ForceField(*force_field)
    topology = _topology(["ACE", *sequence, "NME"], field)
    system = field.createSystem(_openmm(topology), nonbondedMethod=app.NoCutoff)
    start = np.random.default_rng(seed).normal(size=(topology.n_atoms, 3)) * 0.3
    start[:, 0] += 0.12 * np.array([atom.residue_id for atom in topology.atoms])  # a chain, not a knot
    _, x = _minimized(_bonded(system), start)
    vacuum = app.ForceField(*(file for file in force_field if not file.startswith("implicit")))
    _, x = _minimized(_context(vacuum.createSystem(_openmm(topology), nonbondedMethod=app.NoCutoff)), x, 100.0)
    return topology, torch.from_numpy(np.array(x))


def _topology(names: list[str], field: app.ForceField) -> Topology:
    atoms: list[Atom] = []
    bonds: list[tuple[int, int]] = []
    carbon = None
    for number, name in enumerate(names, 1):
        template = field._templates[name]
        first = len(atoms)
        for atom in template.atoms:
            atoms.append(Atom(atom.name, atom.element.symbol, name, number, "A", atom.element.mass._value))
        bonds += [(first + i, first + j) for i, j in template.bonds]
        place = {atom.name: first + k for k, atom in enumerate(template.atoms)}
        if carbon is not None:
            bonds.append((carbon, place["N"]))
        carbon = place.get("C") if name != "NME" else None
    return Topology(tuple(atoms), tuple(sorted((min(b), max(b)) for b in bonds)))


def _openmm(topology: Topology) -> app.Topology:
    from tpsctl.molecule.force_field import openmm_topology

    return openmm_topology(topology)


def _context(system: openmm.System, temperature_k: float | None = None, seed: int = 0) -> openmm.Context:
    integrator = (
        openmm.VerletIntegrator(0.001)
        if temperature_k is None
        else openmm.LangevinMiddleIntegrator(temperature_k, 5.0, 0.001)
    )
    if temperature_k is not None:
        integrator.setRandomNumberSeed(seed + 1)
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


def _minimized(context: openmm.Context, x: np.ndarray, tolerance: float = 1.0) -> tuple[float, np.ndarray]:
    context.setPositions(x)
    openmm.LocalEnergyMinimizer.minimize(context, tolerance)
    state = context.getState(positions=True, energy=True)
    return state.getPotentialEnergy()._value, state.getPositions(asNumpy=True)._value


def _embedded(
    topology: Topology, system: openmm.System, context: openmm.Context, generator: np.random.Generator
) -> np.ndarray:
    """A structure with L residues and trans amides, from random points."""
    bonded = _bonded(system)
    while True:
        start = generator.normal(size=(topology.n_atoms, 3)) * 0.3
        _, x = _minimized(bonded, start)
        try:
            _, x = _minimized(context, x)
        except openmm.OpenMMException:
            continue
        if _is_sound(topology, torch.from_numpy(x)):
            return x


def _bonded(system: openmm.System) -> openmm.Context:
    """A Context with bonds and angles alone."""
    bare = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    for k in reversed(range(bare.getNumForces())):
        if type(bare.getForce(k)).__name__ not in _KEPT:
            bare.removeForce(k)
    return _context(bare)


def _is_sound(topology: Topology, x: torch.Tensor) -> bool:
    for label, quadruple in topology.backbone_dihedrals:
        if label.startswith("omega") and abs(float(dihedral(x, torch.tensor([quadruple]))[0])) < math.pi / 2:
            return False
    names = {(a.residue_id, a.name): i for i, a in enumerate(topology.atoms)}
    for (residue, name), center in names.items():
        around = [names.get((residue, other)) for other in ("N", "C", "CB")]
        if name == "CA" and None not in around:
            n, c, cb = (x[i] - x[center] for i in around)
            if float(torch.linalg.det(torch.stack([n, c, cb]))) < 0:
                return False
    lengths = torch.stack([(x[i] - x[j]).norm() for i, j in topology.bonds])
    return bool((lengths < 0.2).all())


def _two_minima(topology: Topology, system: openmm.System, x: np.ndarray, seed: int) -> torch.Tensor:
    """The lowest minima found with phi of the first residue below and above zero."""
    from tpsctl.molecule.geometry import dihedral as angle

    phi = next(q for label, q in topology.backbone_dihedrals if label.startswith("phi"))
    cold, hot = _context(system), _context(system, 800.0, seed)
    lowest: dict[bool, tuple[float, np.ndarray]] = {}
    hot.setPositions(x)
    hot.setVelocitiesToTemperature(800.0, seed + 1)
    for step in range(2000):
        hot.getIntegrator().step(500)
        energy, low = _minimized(cold, hot.getState(positions=True).getPositions(asNumpy=True)._value, 0.1)
        structure = torch.from_numpy(low)
        if not _is_sound(topology, structure):
            continue
        side = bool(angle(structure, torch.tensor([phi]))[0] > 0)
        if side not in lowest or energy < lowest[side][0]:
            lowest[side] = (energy, low)
        if step >= 60 and len(lowest) == 2:
            break
    return torch.stack([torch.from_numpy(lowest[side][1]) for side in (False, True)])

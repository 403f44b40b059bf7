"""Checks that a System can be used for paths.

The molecule of a path is isolated, all its coordinates are free, and its energy depends on its shape only. A System
that was made elsewhere may have a periodic box, constraints, virtual sites or position restraints. With any of them
the energy of the System would not be the energy that the path needs, so it is refused, and the message names the
remedy. Constraints whose two particles also have a bond with an energy are the exception: they are removed.
"""

from typing import Any

from tpsctl.errors import ValidationError
from tpsctl.molecule.topology import Topology

_ACT_ON_DYNAMICS_ONLY = ("CMMotionRemover", "AndersenThermostat")
_BAROSTATS = (
    "MonteCarloBarostat",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloMembraneBarostat",
    "MonteCarloFlexibleBarostat",
)


def free_system(system: Any, topology: Topology, name: str) -> Any:
    """Remove from a System what affects dynamics only, and constraints that a bond energy can replace.

    Args:
        system: An `openmm.System` of as many particles as the topology has atoms; it is changed.
        topology: The molecule, for the names of atoms in messages.
        name: How messages call the System.

    Returns:
        The same System.

    Raises:
        ValidationError: The System has a periodic box, a constraint without a bond energy, a virtual site, a particle
            of mass 0, or a force that cannot be used for paths.
    """
    forces = [type(force).__name__ for force in system.getForces()]
    if system.usesPeriodicBoundaryConditions() or any(force in _BAROSTATS for force in forces):
        raise ValidationError(
            f"{name}: the System has a periodic box (explicit solvent, or a crystal), and paths are of isolated "
            "molecules. Give a System of the molecule alone, made with nonbondedMethod=NoCutoff, in vacuum or with an "
            "implicit solvent."
        )
    _refuse_sites(system, topology, name)
    for force, problem in (
        ("CustomExternalForce", "a CustomExternalForce (position restraints, or an outer field), so its energy changes "
         "when the molecule is moved as a whole"),
        ("DrudeForce", "Drude particles, whose positions follow from those of the atoms"),
    ):  # fmt: skip
        if force in forces:
            raise ValidationError(f"{name}: the System has {problem}. Give a System without it.")
    _free_constraints(system, topology, name)
    for i in reversed(range(system.getNumForces())):
        if type(system.getForce(i)).__name__ in _ACT_ON_DYNAMICS_ONLY:
            system.removeForce(i)
    return system


def _refuse_sites(system: Any, topology: Topology, name: str) -> None:
    for i, atom in enumerate(topology.atoms):
        if system.isVirtualSite(i):
            problem = "a virtual site, whose position follows from other atoms"
        elif not system.getParticleMass(i)._value > 0:
            problem = "a particle of mass 0, which OpenMM never moves"
        else:
            continue
        raise ValidationError(
            f"{name}: {atom.label} is {problem}; a path moves every atom. Take a force field without such sites "
            "(e.g. a three-site water model)."
        )


def _free_constraints(system: Any, topology: Topology, name: str) -> None:
    if system.getNumConstraints() == 0:
        return
    bonded = bonded_pairs(system)
    for k in range(system.getNumConstraints()):
        i, j, distance = system.getConstraintParameters(k)
        if frozenset((i, j)) not in bonded:
            labels = f"{topology.atoms[i].label} - {topology.atoms[j].label}"
            raise ValidationError(
                f"{name}: the System has {system.getNumConstraints()} constraints, and the constrained distance "
                f"{labels} ({distance._value:.4f} nm) has no energy that would hold it on a path. Make the System with "
                "constraints=None and rigidWater=False (or flexibleConstraints=True)."
            )
    for k in reversed(range(system.getNumConstraints())):
        system.removeConstraint(k)


def bonded_pairs(system: Any) -> set[frozenset[int]]:
    """Pairs of particles that a bond joins, either harmonic or a custom function of their distance."""
    pairs = set()
    for force in system.getForces():
        if type(force).__name__ in ("HarmonicBondForce", "CustomBondForce"):
            for k in range(force.getNumBonds()):
                i, j, *_ = force.getBondParameters(k)
                pairs.add(frozenset((i, j)))
    return pairs

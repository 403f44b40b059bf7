"""What a System must be for paths: isolated, every coordinate free, energy a function of the molecule's shape only.

A System that was made elsewhere may have a periodic box, constraints, virtual sites or position restraints. Each of
them would silently mean another energy than the path's, so each is refused with the cure, except for constraints whose
two particles also have a bond with an energy: these are freed.
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
    """The System without what acts on dynamics only, constraints freed.

    Args:
        system: An `openmm.System` of as many particles as the topology has atoms; it is changed.
        topology: The molecule, for the names of atoms in messages.
        name: How messages call the System.

    Raises:
        ValidationError: It has something that a path cannot have.
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
    """Pairs of particles with a bond of their own: harmonic, or a custom function of their distance."""
    pairs = set()
    for force in system.getForces():
        if type(force).__name__ in ("HarmonicBondForce", "CustomBondForce"):
            for k in range(force.getNumBonds()):
                i, j, *_ = force.getBondParameters(k)
                pairs.add(frozenset((i, j)))
    return pairs

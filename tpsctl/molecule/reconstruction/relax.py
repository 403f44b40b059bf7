"""Minimization of an all-atom structure whose C-alpha atoms are held at the beads of a path.

    x' = argmin_y  E(y) + k/2 sum_a |y_a - bead_a|^2 + R(y)        over the C-alpha atoms a

The beads are what the path says, so they are held; no path determines the other atoms, so they are free. With k = 1e4
kJ/mol/nm^2 a force of 100 kJ/mol/nm displaces a C-alpha atom by 0.01 nm. R holds peptide bonds trans and centers L by
harmonic torsions that are zero at the ideal geometry:

    R(y) = c/2 sum (omega - 180 degrees)^2 + c/2 sum (t - t_L)^2,      t the improper torsion of a center, t_L = 34 deg

Reconstructed structures clash, and the first steps of a minimizer on a Lennard-Jones wall would turn centers inside
out. So there are two stages: first with the bonded forces and a soft repulsion, which lets atoms pass each other,

    E_soft = bonded terms + sum_{i<j} e (1 - r_ij / s_ij)^2     for r_ij < s_ij, pairs more than three bonds apart

with s 0.85 of the sum of the van der Waals radii, then with the whole force field. R is no part of any energy that is
reported. Other tetrahedral centers, such as CH2, keep the order of their neighbors in the same way.
"""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.amino_acids import amino_acid_centers
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.reconstruction.all_atoms import AllAtomMolecule
from tpsctl.molecule.symmetry import stereo_centers
from tpsctl.molecule.topology import Topology

BEAD_KJ_PER_MOL_NM2 = 10_000.0
"""Strength k of the restraint of every C-alpha atom."""

TORSION_KJ_PER_MOL_RAD2 = 200.0
"""Strength c of the restraints on omega and on the improper torsions of centers."""

L_IMPROPER_RAD = 0.60
"""Improper torsion CA-N-C-CB of an L-amino acid (34 degrees)."""

SOFT_KJ_PER_MOL = 500.0
"""Energy e of the soft repulsion where two atoms lie on each other."""

SOFT_FRACTION = 0.85
"""Distance at which the soft repulsion ends, as a fraction of the sum of the Lennard-Jones radii."""

TOLERANCE_KJ_PER_MOL_NM = 10.0
"""Root-mean-square force at which a stage stops."""

SOFT_STEPS = 300
"""Most L-BFGS iterations with soft repulsion."""

FULL_STEPS = 200
"""Most L-BFGS iterations with the whole force field."""


class BeadRestrainedMinimizer:
    """Minimizes structures of one molecule near the beads of a path.

    Args:
        system: The `openmm.System` of the molecule, with one NonbondedForce; it is copied.
        molecule: Its atoms and the template, which says how the hydrogens of a center that are alike are named.
        platform: OpenMM platform.
    """

    def __init__(self, system: Any, molecule: AllAtomMolecule, *, platform: str) -> None:
        self._alpha = molecule.alpha_carbons
        self._stages = []
        for made, steps in ((_soft(system), SOFT_STEPS), (copy.deepcopy(system), FULL_STEPS)):
            made.addForce(_torsion_restraint(molecule.topology, molecule.template))
            made.addForce(_bead_restraint(self._alpha))
            self._stages.append((ContextPool(made, platform=platform, threads=1), steps))

    def minimize(self, x: Float[Tensor, "atom 3"], beads: Float[Tensor, "bead 3"]) -> Float[Tensor, "atom 3"]:
        """The minimized structure, nm.

        Raises:
            ValidationError: OpenMM finds no finite energy, e.g. because two atoms lie on each other.
        """
        for pool, steps in self._stages:
            task = partial(_minimize, self._alpha, beads.double().numpy(), steps)
            x = torch.from_numpy(pool.map(x[None], task, tuple(x.shape)))[0]
        if not x.isfinite().all():
            raise ValidationError(
                "minimization: OpenMM finds no finite energy of a reconstructed structure, in which atoms may lie on "
                "each other. Take another back-end."
            )
        return x


def _soft(system: Any) -> Any:
    """A copy of a System with a soft repulsion instead of its nonbonded forces and implicit solvent."""
    import openmm
    from openmm import unit

    made = copy.deepcopy(system)
    bonded = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "RBTorsionForce", "CMAPTorsionForce")
    nonbonded = None
    for k in reversed(range(made.getNumForces())):
        if type(made.getForce(k)).__name__ not in bonded:
            found = system.getForce(k)
            nonbonded = found if isinstance(found, openmm.NonbondedForce) else nonbonded
            made.removeForce(k)
    if nonbonded is None:
        raise ValidationError(
            "force field: it has no NonbondedForce, from which radii are taken to remove clashes. "
            'Take a force field for proteins, e.g. "amber14-all.xml".'
        )
    soft = openmm.CustomNonbondedForce("soft*step(s-r)*(1-r/s)^2; s=radius1+radius2")
    soft.addGlobalParameter("soft", SOFT_KJ_PER_MOL)
    soft.addPerParticleParameter("radius")
    for k in range(nonbonded.getNumParticles()):
        sigma = nonbonded.getParticleParameters(k)[1].value_in_unit(unit.nanometer)
        polar = made.getParticleMass(k).value_in_unit(unit.dalton) < 1.5 and sigma < 0.15
        soft.addParticle([0.05 if polar else SOFT_FRACTION * 2 ** (1 / 6) * sigma / 2])
    for k in range(nonbonded.getNumExceptions()):
        i, j, *_ = nonbonded.getExceptionParameters(k)
        soft.addExclusion(i, j)
    made.addForce(soft)
    return made


def _torsion_restraint(topology: Topology, template: Float[Tensor, "atom 3"]) -> Any:
    """The restraint R of omega and of the improper torsions of centers."""
    import openmm

    force = openmm.CustomTorsionForce("turn/2*d^2; d=min(a,6.283185307179586-a); a=abs(theta-theta0)")
    force.addGlobalParameter("turn", TORSION_KJ_PER_MOL_RAD2)
    force.addPerTorsionParameter("theta0")
    for name, atoms in topology.backbone_dihedrals:
        if name.startswith("omega "):
            force.addTorsion(*atoms, [np.pi])
    of_amino_acids = dict(amino_acid_centers(topology))
    for center, neighbors in of_amino_acids.items():
        force.addTorsion(center, *neighbors, [L_IMPROPER_RAD])
    others = stereo_centers(topology, template[None])
    for center, around, hand in zip(others.atoms, others.neighbors, others.handedness(template).tolist(), strict=True):
        if center not in of_amino_acids and len(around) == 4:
            force.addTorsion(center, *around[:3], [hand * L_IMPROPER_RAD])
    return force


def _bead_restraint(alpha_carbons: Sequence[int]) -> Any:
    """The restraint of the C-alpha atoms; the places are set for every image."""
    import openmm

    force = openmm.CustomExternalForce("restraint/2*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    force.addGlobalParameter("restraint", BEAD_KJ_PER_MOL_NM2)
    for axis in ("x0", "y0", "z0"):
        force.addPerParticleParameter(axis)
    for atom in alpha_carbons:
        force.addParticle(atom, (0.0, 0.0, 0.0))
    return force


def _minimize(
    alpha: tuple[int, ...], beads: np.ndarray, steps: int, context: Any, x: np.ndarray, row: np.ndarray
) -> None:
    """Write minimized positions to `row`, which stays NaN if there is no finite energy."""
    import openmm

    system = context.getSystem()
    force = system.getForce(system.getNumForces() - 1)
    for k, (atom, bead) in enumerate(zip(alpha, beads, strict=True)):
        force.setParticleParameters(k, atom, bead)
    force.updateParametersInContext(context)
    context.setPositions(x)
    try:
        openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE_KJ_PER_MOL_NM, steps)
    except openmm.OpenMMException:
        return
    row[0] = context.getState(positions=True).getPositions(asNumpy=True)._value

"""Second derivatives of Lennard-Jones and Coulomb energies without a cutoff.

u(r) = q_i q_j / (4 pi eps0 r) + 4 eps ((sigma / r)^12 - (sigma / r)^6)
"""

from typing import Any

import torch

from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum, UnknownForm, numbers

_COULOMB = 138.93545764438198
"""OpenMM's 1 / (4 pi eps0), kJ nm / (mol e^2)."""


class NonbondedCurvature(CurvatureTerm):
    """All pairs of an `openmm.NonbondedForce`, with its exceptions.

    Raises:
        UnknownForm: The force has a cutoff or parameter offsets.
    """

    def __init__(self, force: Any) -> None:
        offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
        if force.getNonbondedMethod() != force.NoCutoff or offsets:
            raise UnknownForm(type(force).__name__)
        rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
        charge, sigma, epsilon = numbers(rows, 3)
        charges = charge[:, None] * charge
        sizes, depths = (sigma[:, None] + sigma) / 2, (epsilon[:, None] * epsilon).sqrt()
        rows = [force.getExceptionParameters(k) for k in range(force.getNumExceptions())]
        i, j = torch.tensor([row[:2] for row in rows], dtype=torch.long).reshape(-1, 2).T
        for table, column in zip((charges, sizes, depths), numbers([row[2:] for row in rows], 3), strict=True):
            table[i, j] = table[j, i] = column
        self._first = _COULOMB * charges
        self._sixth, self._twelfth = 4 * depths * sizes**6, 4 * depths * sizes**12

    def add_to(self, hessian: HessianSum) -> None:
        inverse = hessian.inverse
        square = inverse.square()
        sixth = square * square * square
        coulomb, attraction = self._first * inverse, self._sixth * sixth
        repulsion = self._twelfth * sixth.square()
        hessian.slope -= (coulomb + 12 * repulsion - 6 * attraction) * inverse
        hessian.curvature += (2 * coulomb + 156 * repulsion - 42 * attraction) * square

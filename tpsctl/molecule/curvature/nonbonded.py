"""Second derivatives of Lennard-Jones and Coulomb energies without a cutoff.

u(r) = k q_i q_j / r + 4 eps ((sigma / r)^12 - (sigma / r)^6)
"""

from typing import Any

import torch
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, Pairs, Squares, UnknownForm

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
        charge, sigma, epsilon = _columns([force.getParticleParameters(i) for i in range(force.getNumParticles())])
        i, j = torch.triu_indices(len(charge), len(charge), 1)
        atoms = len(charge)
        place = torch.full((atoms, atoms), -1)
        place[i, j] = torch.arange(len(i))
        charges = charge[i] * charge[j]
        sizes, depths = (sigma[i] + sigma[j]) / 2, (epsilon[i] * epsilon[j]).sqrt()
        rows = [force.getExceptionParameters(k) for k in range(force.getNumExceptions())]
        if rows:
            apart = torch.tensor([sorted(row[:2]) for row in rows])
            which = place[apart[:, 0], apart[:, 1]]
            charges[which], sizes[which], depths[which] = _columns([row[2:] for row in rows])
        used = (charges != 0) | (depths != 0)
        self._pairs = Pairs(i[used], j[used])
        self._charges, self._sizes, self._depths = _COULOMB * charges[used], sizes[used], depths[used]

    def add_to(self, squares: Squares, x: Tensor) -> None:
        r, unit = self._pairs.distances(x)
        coulomb = self._charges / r
        sixth = (self._sizes / r) ** 6
        slope = (-coulomb + self._depths * (24 * sixth - 48 * sixth * sixth)) / r
        curvature = (2 * coulomb + self._depths * (624 * sixth * sixth - 168 * sixth)) / (r * r)
        self._pairs.add_to(squares, r, unit, slope, curvature)


def _columns(rows: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Three parameters in OpenMM's units (e or e^2, nm, kJ/mol)."""
    values = torch.tensor([[value._value for value in row] for row in rows], dtype=torch.float64)
    return values[:, 0], values[:, 1], values[:, 2]

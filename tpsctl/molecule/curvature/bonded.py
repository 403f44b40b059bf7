"""Second derivatives of bonds, angles and torsions.

A term U(q) of one internal coordinate q contributes U'' grad q grad q^T + U' grad grad q.

Source: Eastman et al., PLoS Comput. Biol. 13 (2017) e1005659 (the terms of OpenMM).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tpsctl.molecule.curvature.angles import cosine_derivatives, dihedral_derivatives, in_positions
from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum, numbers, require_no_box

_STRAIGHT = 1e-7
"""Least sine of an angle in a quotient. The energy of an angle whose minimum is straight is smooth there, and both
(theta - pi) / sin theta and what follows from it are right to 1e-8 down to this sine."""


class BondCurvature(CurvatureTerm):
    """Bonds with the energy k (r - r0)^2 / 2, of an `openmm.HarmonicBondForce`.

    Raises:
        UnknownForm: The force uses a periodic box.
    """

    def __init__(self, force: Any) -> None:
        require_no_box(force)
        rows = [force.getBondParameters(k) for k in range(force.getNumBonds())]
        self._pairs = _atoms(rows, 2).T
        self._length, self._stiffness = numbers([row[2:] for row in rows], 2)

    def add_to(self, hessian: HessianSum) -> None:
        r = hessian.r[:, self._pairs[0], self._pairs[1]]
        hessian.add_pairs(self._pairs, self._stiffness * (r - self._length), self._stiffness.expand_as(r))


class AngleCurvature(CurvatureTerm):
    """Angles with the energy k (theta - theta0)^2 / 2, of an `openmm.HarmonicAngleForce`.

    The energy is taken as a function of c = cos theta, whose derivatives are finite for a straight angle, too:
    with s = sin theta,

        dU/dc = -k (theta - theta0) / s ,     d2U/dc2 = (k + c dU/dc) / s^2 .

    Raises:
        UnknownForm: The force uses a periodic box.
    """

    def __init__(self, force: Any) -> None:
        require_no_box(force)
        rows = [force.getAngleParameters(k) for k in range(force.getNumAngles())]
        self._groups = _atoms(rows, 3)
        self._angle, self._stiffness = numbers([row[3:] for row in rows], 2)

    def add_to(self, hessian: HessianSum) -> None:
        i, j, m = (hessian.x[:, atoms] for atoms in self._groups.T)
        gradient, second, cosine, sine = cosine_derivatives(i - j, m - j)
        sine = sine.clamp_min(_STRAIGHT)
        slope = -self._stiffness * (torch.atan2(sine, cosine) - self._angle) / sine
        curvature = (self._stiffness + cosine * slope) / sine.square()
        squares = in_positions(gradient, second, slope, curvature, ((1, -1, 0), (0, -1, 1)))
        hessian.add_groups(self._groups, squares)


class TorsionCurvature(CurvatureTerm):
    """Torsions with the energy k (1 + cos(n phi - phi0)), of an `openmm.PeriodicTorsionForce`.

    Raises:
        UnknownForm: The force uses a periodic box.
    """

    def __init__(self, force: Any) -> None:
        require_no_box(force)
        rows = self._rows(force)
        self._groups, self._of = torch.unique(_atoms(rows, 4), dim=0, return_inverse=True)
        self._fold, self._phase, self._stiffness = numbers([row[4:] for row in rows], 3)

    def _rows(self, force: Any) -> list[Any]:
        """Four atoms, n, phi0 and k of every torsion."""
        return [force.getTorsionParameters(k) for k in range(force.getNumTorsions())]

    def add_to(self, hessian: HessianSum) -> None:
        i, j, m, o = (hessian.x[:, atoms] for atoms in self._groups.T)
        gradient, second, phi = dihedral_derivatives(i - j, j - m, o - m)
        angle = self._fold * phi[:, self._of] - self._phase
        none = torch.zeros_like(phi)
        slope = none.index_add(1, self._of, -self._stiffness * self._fold * angle.sin())
        curvature = none.index_add(1, self._of, -self._stiffness * self._fold.square() * angle.cos())
        vectors = ((1, -1, 0, 0), (0, 1, -1, 0), (0, 0, -1, 1))
        hessian.add_groups(self._groups, in_positions(gradient, second, slope, curvature, vectors))


class RyckaertBellemansCurvature(TorsionCurvature):
    """Torsions with the energy sum_n C_n cos^n(phi - pi), of an `openmm.RBTorsionForce`, as periodic torsions.

    Raises:
        UnknownForm: The force uses a periodic box.
    """

    def _rows(self, force: Any) -> list[Any]:
        rows = []
        for k in range(force.getNumTorsions()):
            *atoms, _, c1, c2, c3, c4, c5 = (getattr(v, "_value", v) for v in force.getTorsionParameters(k))
            factors = (c1 + 3 * c3 / 4 + 5 * c5 / 8, (c2 + c4) / 2, c3 / 4 + 5 * c5 / 16, c4 / 8, c5 / 16)
            rows += [(*atoms, n, n * math.pi, factor) for n, factor in enumerate(factors, 1) if factor]
        return rows


def _atoms(rows: Sequence[Any], size: int) -> Tensor:
    """The atoms of every term (term, size)."""
    return torch.tensor([row[:size] for row in rows], dtype=torch.long).reshape(-1, size)

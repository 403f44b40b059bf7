"""The Hessian of a System: closed forms where there are any, and central differences of the forces of the rest."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, UnknownForm, as_matrix
from tpsctl.molecule.curvature.bonded import AngleCurvature, BondCurvature, TorsionCurvature
from tpsctl.molecule.curvature.generalized_born import GeneralizedBornCurvature
from tpsctl.molecule.curvature.nonbonded import NonbondedCurvature

_CLOSED: dict[str, Callable[[Any], CurvatureTerm]] = {
    "HarmonicBondForce": BondCurvature,
    "HarmonicAngleForce": AngleCurvature,
    "PeriodicTorsionForce": TorsionCurvature,
    "NonbondedForce": NonbondedCurvature,
    "CustomGBForce": GeneralizedBornCurvature,
}
_PAIRS_AT_ONCE = 200_000
"""Pairs of atoms, of all images at work, whose intermediate results stay within the caches and some 100 MB."""

Forces = Callable[[Tensor], Tensor]
"""Configurations (batch, atom, 3), nm -> forces (batch, atom, 3), kJ/mol/nm."""


class Curvature:
    """Second derivatives of the potential energy of a System.

    Args:
        system: An `openmm.System` without a periodic box, constraints and virtual sites; it is only read.

    Attributes:
        rest: The System with the forces alone for which there is no closed form; None if there is none of them.
    """

    def __init__(self, system: Any) -> None:
        self._atoms: int = system.getNumParticles()
        self._terms: list[CurvatureTerm] = []
        rest = copy.deepcopy(system)
        for k in reversed(range(rest.getNumForces())):
            make = _CLOSED.get(type(rest.getForce(k)).__name__)
            try:
                if make is not None:
                    self._terms.append(make(rest.getForce(k)))
                    rest.removeForce(k)
            except UnknownForm:
                continue
        self.rest = rest if rest.getNumForces() else None

    def hessian(self, x: Float[Tensor, "image atom 3"]) -> Float[Tensor, "image n n"]:
        """The closed forms' Hessians at configurations x, nm, in kJ/mol/nm^2, with n = 3 atoms; those of `rest` are
        not in it. Entries are NaN where a coordinate is not finite.
        """
        each = max(1, _PAIRS_AT_ONCE // self._atoms**2)
        return torch.cat([self._chunk(part) for part in x.detach().cpu().double().split(each)]).to(x)

    def _chunk(self, x: Tensor) -> Tensor:
        squares = x.new_zeros(len(x), self._atoms**2, 9)
        for term in self._terms:
            term.add_to(squares, x)
        return as_matrix(squares)

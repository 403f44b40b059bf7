"""The Hessian of a System: closed forms where there are any, and central differences of the forces of the rest."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, HessianSum, UnknownForm
from tpsctl.molecule.curvature.bonded import (
    AngleCurvature,
    BondCurvature,
    RyckaertBellemansCurvature,
    TorsionCurvature,
)
from tpsctl.molecule.curvature.collective import CollectiveCurvature, CustomBondCurvature
from tpsctl.molecule.curvature.differences import DifferenceCurvature
from tpsctl.molecule.curvature.generalized_born import GeneralizedBornCurvature
from tpsctl.molecule.curvature.nonbonded import NonbondedCurvature
from tpsctl.molecule.openmm_contexts import ContextPool

_CLOSED: dict[str, Callable[[Any], CurvatureTerm]] = {
    "HarmonicBondForce": BondCurvature,
    "HarmonicAngleForce": AngleCurvature,
    "PeriodicTorsionForce": TorsionCurvature,
    "RBTorsionForce": RyckaertBellemansCurvature,
    "NonbondedForce": NonbondedCurvature,
    "CustomGBForce": GeneralizedBornCurvature,
    "CustomBondForce": CustomBondCurvature,
    "CustomCVForce": CollectiveCurvature,
}
_PAIRS_AT_ONCE = 200_000
"""Pairs of atoms, of all images at work, whose intermediate results stay within the caches and some 100 MB."""


class Curvature:
    """Second derivatives of the potential energy of a System.

    Args:
        system: An `openmm.System` without a periodic box, constraints and virtual sites; it is only read.
        platform: OpenMM platform of the forces that have no closed form.
        threads: Contexts that compute these forces at the same time; None for one per core.
        gpu: Number of the GPU on a GPU platform; None for OpenMM's own choice.

    Attributes:
        by_differences: Types of the forces that have no closed form, e.g. "CMAPTorsionForce".
    """

    def __init__(
        self, system: Any, *, platform: str = "Reference", threads: int | None = None, gpu: int | None = None
    ) -> None:
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
        self.by_differences = tuple(type(force).__name__ for force in rest.getForces())
        if self.by_differences:
            pool = ContextPool(rest, platform=platform, threads=threads, precision="double", gpu=gpu)
            self._terms.append(DifferenceCurvature(pool))

    def hessian(self, x: Float[Tensor, "image atom 3"]) -> Float[Tensor, "image n n"]:
        """The Hessians at configurations x, nm, in kJ/mol/nm^2, with n = 3 atoms, computed in double precision.
        Entries are NaN where a coordinate is not finite.
        """
        each = max(1, _PAIRS_AT_ONCE // self._atoms**2)
        return torch.cat([self._chunk(part) for part in x.detach().cpu().double().split(each)]).to(x)

    def _chunk(self, x: Tensor) -> Tensor:
        hessian = HessianSum(x)
        for term in self._terms:
            term.add_to(hessian)
        return hessian.total()

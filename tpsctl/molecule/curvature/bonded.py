"""Second derivatives of bonds, angles and torsions.

A bond's follow from the derivatives of its energy by the distance. Angles and torsions are functions of three or four
atoms, so autograd gives the matrix of 9 or 12 rows of each, all of them at once.
"""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.molecule.curvature.base import CurvatureTerm, Pairs, Squares, add_matrices
from tpsctl.molecule.geometry import dihedral


class BondCurvature(CurvatureTerm):
    """Bonds with the energy k (r - r0)^2 / 2, of an `openmm.HarmonicBondForce`."""

    def __init__(self, force: Any) -> None:
        rows = [force.getBondParameters(k) for k in range(force.getNumBonds())]
        self._pairs = Pairs(*(torch.tensor([row[k] for row in rows], dtype=torch.long) for k in (0, 1)))
        self._length, self._stiffness = (_numbers(rows, k) for k in (2, 3))

    def add_to(self, squares: Squares, x: Tensor) -> None:
        r, unit = self._pairs.distances(x)
        slope = self._stiffness * (r - self._length)
        self._pairs.add_to(squares, r, unit, slope, self._stiffness.expand_as(r))


class GroupCurvature(CurvatureTerm):
    """Energies of groups of a few atoms each, as a function that autograd differentiates twice.

    Args:
        groups: Atoms of every group.
    """

    def __init__(self, groups: Int[Tensor, "group size"]) -> None:
        self._groups = groups

    @abstractmethod
    def energies(self, x: Float[Tensor, "image group size 3"]) -> Float[Tensor, "image group"]:
        """Energies of groups at positions x, nm, in kJ/mol."""

    def add_to(self, squares: Squares, x: Tensor) -> None:
        own = x[:, self._groups].detach().requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.energies(own).sum(), own, create_graph=True)
            parts = gradient.flatten(2).unbind(-1)
            rows = [torch.autograd.grad(part.sum(), own, retain_graph=True)[0] for part in parts]
        size = self._groups.shape[1]
        add_matrices(squares, self._groups, torch.stack(rows, dim=2).unflatten(2, (size, 3)))


class AngleCurvature(GroupCurvature):
    """Angles with the energy k (theta - theta0)^2 / 2, of an `openmm.HarmonicAngleForce`."""

    def __init__(self, force: Any) -> None:
        rows = [force.getAngleParameters(k) for k in range(force.getNumAngles())]
        super().__init__(torch.tensor([row[:3] for row in rows], dtype=torch.long))
        self._angle, self._stiffness = (_numbers(rows, k) for k in (3, 4))

    def energies(self, x: Tensor) -> Tensor:
        a, b = x[..., 0, :] - x[..., 1, :], x[..., 2, :] - x[..., 1, :]
        theta = torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))
        return self._stiffness / 2 * (theta - self._angle).square()


class TorsionCurvature(GroupCurvature):
    """Torsions with the energy k (1 + cos(n phi - phi0)), of an `openmm.PeriodicTorsionForce`."""

    def __init__(self, force: Any) -> None:
        rows = [force.getTorsionParameters(k) for k in range(force.getNumTorsions())]
        super().__init__(torch.tensor([row[:4] for row in rows], dtype=torch.long))
        self._fold = torch.tensor([float(row[4]) for row in rows], dtype=torch.float64)
        self._phase, self._stiffness = (_numbers(rows, k) for k in (5, 6))

    def energies(self, x: Tensor) -> Tensor:
        phi = dihedral(x, torch.tensor([[0, 1, 2, 3]])).squeeze(-1)
        angle = self._fold * phi - self._phase
        return self._stiffness * (1 + angle.cos())


def _numbers(rows: list[Any], column: int) -> Float[Tensor, " row"]:
    """A column of parameters in OpenMM's units (nm, radians, kJ/mol)."""
    return torch.tensor([row[column]._value for row in rows], dtype=torch.float64)

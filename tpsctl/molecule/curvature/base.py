"""What a force of a System adds to the Hessian of its energy, and the sums in which Hessians are added up.

Energies of pairs of atoms are added up as u'(r) and u''(r), of all forces together, before they become Cartesian. With
the unit vector e along the pair, d2u / (dx_a dx_b) = -(u'' e e^T + (u'/r) (1 - e e^T)), and the 3 x 3 square of an atom
with itself is minus the sum of its squares with all others.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


class UnknownForm(Exception):
    """A force has no closed form here, so its second derivatives are differences of forces."""


class HessianSum:
    """The Hessians of a System at several configurations, while the forces add to them.

    Args:
        x: Configurations, nm, in double precision.

    Attributes:
        x: Configurations, nm.
        r: Distances of all atoms, nm; 1 of an atom from itself.
        between: x_a - x_b of all atoms, its component first, nm.
        slope: Sum of u'(r) of pairs of atoms, symmetric, kJ/mol/nm; entries of an atom with itself are ignored.
        curvature: Sum of u''(r), likewise, kJ/mol/nm^2.
    """

    def __init__(self, x: Float[Tensor, "image atom 3"]) -> None:
        self.x = x
        rows = x.mT.contiguous()
        self.between: Float[Tensor, "image 3 atom atom"] = rows.unsqueeze(3) - rows.unsqueeze(2)
        square = self.between.square().sum(1)
        square.diagonal(dim1=1, dim2=2).fill_(1.0)
        self.r: Float[Tensor, "image atom atom"] = square.sqrt_()
        self.slope, self.curvature = torch.zeros_like(self.r), torch.zeros_like(self.r)
        self._matrix: Float[Tensor, "image n n"] = x.new_zeros(len(x), x[0].numel(), x[0].numel())

    @cached_property
    def inverse(self) -> Float[Tensor, "image atom atom"]:
        """1/r, 1/nm."""
        return self.r.reciprocal()

    def add_pairs(
        self,
        pairs: Int[Tensor, "2 pair"],
        slope: Float[Tensor, "image pair"],
        curvature: Float[Tensor, "image pair"],
    ) -> None:
        """Add energies of some pairs of atoms, given u'(r) and u''(r) of each; a pair may be there several times."""
        images, atoms = self.x.shape[:2]
        for a, b in (pairs, pairs.flip(0)):
            for total, term in ((self.slope, slope), (self.curvature, curvature)):
                total.view(images, -1).index_add_(1, a * atoms + b, term)

    def add_groups(self, groups: Int[Tensor, "group size"], squares: Float[Tensor, "image group m m"]) -> None:
        """Add energies of groups of a few atoms, given the second derivatives by their m = 3 size coordinates."""
        images, n = self._matrix.shape[:2]
        places = (3 * groups.unsqueeze(2) + torch.arange(3)).flatten(1)
        index = (places.unsqueeze(2) * n + places.unsqueeze(1)).flatten()
        self._matrix.view(images, -1).index_add_(1, index, squares.flatten(1))

    def add(self, matrix: Float[Tensor, "image n n"]) -> None:
        """Add second derivatives by the coordinates of all atoms."""
        self._matrix += matrix

    def total(self) -> Float[Tensor, "image n n"]:
        """The Hessians, kJ/mol/nm^2."""
        images, atoms = self.x.shape[:2]
        across = self.slope * self.inverse
        along = (self.curvature - across) * self.inverse.square()
        across.diagonal(dim1=1, dim2=2).zero_()
        whole = self._matrix.view(images, atoms, 3, atoms, 3)
        for p in range(3):
            row = along * self.between[:, p]
            for q in range(p, 3):
                square = row * self.between[:, q]
                if p == q:
                    square += across
                square.diagonal(dim1=1, dim2=2).sub_(square.sum(2))
                whole[:, :, p, :, q] -= square
                if p != q:
                    whole[:, :, q, :, p] -= square
        return self._matrix


class CurvatureTerm(ABC):
    """The second derivatives of one force of a System."""

    @abstractmethod
    def add_to(self, hessian: HessianSum) -> None:
        """Add the force's second derivatives at the configurations of a sum."""


def numbers(rows: list[Any], width: int) -> Float[Tensor, "width row"]:
    """Columns of OpenMM's parameters, in its own units (nm, radians, kJ/mol, e)."""
    plain = [[getattr(value, "_value", value) for value in row] for row in rows]
    return torch.tensor(plain, dtype=torch.float64).reshape(-1, width).T


def require_no_box(force: Any) -> None:
    """Raise `UnknownForm` if a force measures distances in a periodic box."""
    if force.usesPeriodicBoundaryConditions():
        raise UnknownForm(type(force).__name__)

"""Steps along internal coordinates, and a model Hessian that is guessed from the bonds alone.

Where atoms turn about a bond, straight Cartesian steps stretch other bonds, and the stiff directions of a Hessian turn.
Redundant internal coordinates q (bonds, 1-3 distances, torsions, out-of-plane dihedrals) with B = dq/dx avoid both:

    a step dx becomes the configuration x' with q(x') = q(x) + B dx, found by Newton steps
    with R = B^+ B'  (B' at x', B^+ = (B^T K B)^-1 B^T K):   gradient' = R^T (g + H dx),   Hessian' = R^T H R

The model Hessian is B^T K B + c, where K is the typical stiffness of each coordinate. It costs no force evaluation and
serves as preconditioner of strings and as first Hessian of minimizations, where only orders of magnitude matter.

Sources: Pulay and Fogarasi, J. Chem. Phys. 96 (1992) 2856 (redundant coordinates); Lindh et al., Chem. Phys. Lett. 241
(1995) 423 (the model Hessian; constants and terms are simpler here).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.rigid import rigid_motions
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology

BOND = 2.5e5
"""Stiffness of bonds in the model Hessian, kJ/mol/nm^2."""
ANGLE = 4e4
"""Stiffness of the distances of angles' outer atoms, kJ/mol/nm^2."""
TORSION = 50.0
"""Stiffness of a bond's torsion, kJ/mol/rad^2, shared out equally among all dihedrals about this bond."""
OUT_OF_PLANE = 100.0
"""Stiffness of the out-of-plane dihedral of atoms with three neighbors, kJ/mol/rad^2."""
FLOOR = 100.0
"""Stiffness c of all displacements, kJ/mol/nm^2, for motions that no internal coordinate resists."""

BEND_ITERATIONS = 4
"""Number of Newton steps, all with the derivatives at the start, that find the configuration after a step."""


@dataclass(frozen=True)
class Bent:
    """Configurations after a step along internal coordinates, with what carries derivatives along this step.

    Attributes:
        x: Configurations after the step, nm.
        carry: R, which turns a displacement at the new configuration into one at the old configuration; None for
            the identity.
        step: The step as a displacement at the new configuration, nm.
    """

    x: Float[Tensor, "batch atom dim"]
    carry: Float[Tensor, "batch n n"] | None
    step: Float[Tensor, "batch n"]

    def gradient(self, gradient: Float[Tensor, "batch n"]) -> Tensor:
        """R^T g: a gradient at the old configuration, carried to the new one."""
        return gradient if self.carry is None else (self.carry.mT @ gradient.unsqueeze(2)).squeeze(2)

    def hessian(self, hessian: Float[Tensor, "batch n n"]) -> Tensor:
        """R^T H R: a Hessian at the old configuration, carried to the new one."""
        return hessian if self.carry is None else self.carry.mT @ hessian @ self.carry


class Coordinates(ABC):
    """Turns steps into configurations; the model Hessian belongs to it because both rest on the bonds."""

    @abstractmethod
    def moved(self, x: Float[Tensor, "batch atom dim"], step: Float[Tensor, "batch n"]) -> Bent:
        """Take a step, given as a displacement of atoms, nm, from configurations x, nm."""

    @abstractmethod
    def model_hessian(self, x: Float[Tensor, "batch atom dim"]) -> Float[Tensor, "batch n n"] | None:
        """The positive definite model Hessian, kJ/mol/nm^2; None if there are no bonds to guess it from."""


class Cartesian(Coordinates):
    """Straight steps and no model Hessian, for beads without bonds and for model systems."""

    def moved(self, x: Tensor, step: Tensor) -> Bent:
        return Bent(x + step.reshape(x.shape), None, step)

    def model_hessian(self, x: Tensor) -> None:
        return None


class BondedCoordinates(Coordinates):
    """Steps along internal coordinates and a model Hessian for one molecule.

    Args:
        topology: The molecule, all of whose atoms are connected by bonds.
    """

    def __init__(self, topology: Topology) -> None:
        pairs = [*topology.bonds, *((i, k) for i, _, k in topology.angles)]
        stiffness = [BOND] * len(topology.bonds) + [ANGLE] * len(topology.angles)
        about: dict[tuple[int, int], int] = {}
        for _, j, k, _ in topology.torsions:
            about[j, k] = about.get((j, k), 0) + 1
        planar = [(i, *around) for i, around in enumerate(topology.neighbors) if len(around) == 3]
        dihedrals = [*topology.torsions, *((a, b, o, c) for o, a, b, c in planar)]
        twist = [TORSION / about[j, k] for _, j, k, _ in topology.torsions] + [OUT_OF_PLANE] * len(planar)
        self._pairs = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        self._dihedrals = torch.tensor(dihedrals, dtype=torch.long).reshape(-1, 4)
        self._stiffness = torch.tensor([*stiffness, *twist], dtype=torch.float64)

    def values(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch coordinate"]:
        """The values q: distances in nm, then dihedrals in rad."""
        distance = (x[:, self._pairs[:, 0]] - x[:, self._pairs[:, 1]]).norm(dim=-1)
        return torch.cat((distance, dihedral(x, self._dihedrals)), 1)

    def rows(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch coordinate n"]:
        """B, the derivatives of the values q by the positions of atoms."""
        return torch.cat((pair_gradients(x, self._pairs), dihedral_gradients(x, self._dihedrals)), 1)

    def model_hessian(self, x: Tensor) -> Float[Tensor, "batch n n"]:
        rows = self.rows(x)
        return rows.mT @ (rows * self._stiffness.to(x)[:, None]) + FLOOR * torch.eye(rows.shape[2]).to(x)

    def moved(self, x: Tensor, step: Tensor) -> Bent:
        rows = self.rows(x)
        weighted, factor = self._factored(rows, x)
        turn = (rows @ step.unsqueeze(2)).squeeze(2)
        target = self.values(x) + turn
        there = x + step.reshape(x.shape)
        for _ in range(BEND_ITERATIONS):
            missing = self._wrapped(target - self.values(there)).unsqueeze(2)
            there = there + torch.cholesky_solve(weighted.mT @ missing, factor).reshape(x.shape)
        rows_there = self.rows(there)
        weighted_there, factor_there = self._factored(rows_there, there)
        carry = torch.cholesky_solve(weighted.mT @ rows_there, factor)
        step_there = torch.cholesky_solve(weighted_there.mT @ turn.unsqueeze(2), factor_there).squeeze(2)
        return Bent(there, carry, step_there)

    def _wrapped(self, change: Tensor) -> Tensor:
        """Changes of q with the changes of dihedrals brought between -pi and pi."""
        count = len(self._pairs)
        turns = torch.remainder(change[:, count:] + math.pi, 2 * math.pi) - math.pi
        return torch.cat((change[:, :count], turns), 1)

    def _factored(self, rows: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """K B and the Cholesky factor of B^T K B with stiff rigid motions, for B^+ = (B^T K B)^-1 (K B)^T."""
        weighted = rows * self._stiffness.to(x)[:, None]
        rigid = rigid_motions(x)
        return weighted, _cholesky(rows.mT @ weighted + ANGLE * (rigid @ rigid.mT))


def _cholesky(matrix: Float[Tensor, "batch n n"]) -> Float[Tensor, "batch n n"]:
    """The Cholesky factors; where a molecule is so distorted that a matrix is singular, some identity is added first.

    The factor of a matrix that is not finite is the identity: the energy there is not finite either, and ends a search.
    """
    identity = torch.eye(matrix.shape[-1]).to(matrix)
    sound = torch.isfinite(matrix).all(-1).all(-1)[:, None, None]
    matrix = torch.where(sound, matrix, identity)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    share = 1e-6
    while bool(failed.any()):
        size = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
        matrix = torch.where(failed[:, None, None] > 0, matrix + share * size * identity, matrix)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        share *= 10
    return factor


def pair_gradients(x: Float[Tensor, "batch atom 3"], pairs: Tensor) -> Float[Tensor, "batch pair n"]:
    """Derivatives of the distances of pairs of atoms by all positions, dimensionless."""
    rows = x.new_zeros(len(x), len(pairs), *x.shape[1:])
    unit = x[:, pairs[:, 0]] - x[:, pairs[:, 1]]
    unit = unit / unit.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    number = torch.arange(len(pairs))
    rows[:, number, pairs[:, 0]] = unit
    rows[:, number, pairs[:, 1]] = -unit
    return rows.flatten(2)


def dihedral_gradients(x: Float[Tensor, "batch atom 3"], quadruples: Tensor) -> Float[Tensor, "batch dihedral n"]:
    """Derivatives of dihedrals by all positions, rad/nm; bounded where three atoms are in line.

    Source: Blondel and Karplus, J. Comput. Chem. 17 (1996) 1132.
    """
    rows = x.new_zeros(len(x), len(quadruples), *x.shape[1:])
    i, j, k, m = quadruples.T
    b1, b2, b3 = x[:, j] - x[:, i], x[:, k] - x[:, j], x[:, m] - x[:, k]
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    length = b2.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    smallest = 1e-3 * length**4  # sine of the angle 0.03
    first = -length * n1 / torch.maximum(n1.square().sum(-1, keepdim=True), smallest)
    last = length * n2 / torch.maximum(n2.square().sum(-1, keepdim=True), smallest)
    before = (b1 * b2).sum(-1, keepdim=True) / length**2
    behind = (b3 * b2).sum(-1, keepdim=True) / length**2
    number = torch.arange(len(quadruples))
    rows[:, number, i] = first
    rows[:, number, j] = -(1 + before) * first + behind * last
    rows[:, number, k] = -(1 + behind) * last + before * first
    rows[:, number, m] = last
    return rows.flatten(2)

"""What a force of a System adds to the Hessian of its energy, and the array in which Hessians are added up.

The array has the shape (image, atom * atom, 9): the 3 x 3 square d2U / (dx_a dx_b) of every pair of atoms a, b, in
kJ/mol/nm^2, stands at place a * atoms + b.
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

Squares = Float[Tensor, "image square 9"]


class UnknownForm(Exception):
    """A force has no closed form here, so its second derivatives are differences of forces."""


class CurvatureTerm(ABC):
    """The closed second derivatives of one force of a System."""

    @abstractmethod
    def add_to(self, squares: Squares, x: Float[Tensor, "image atom 3"]) -> None:
        """Add the force's second derivatives at configurations x, nm."""


class Pairs:
    """Pairs of atoms whose energy depends on their distance.

    Args:
        first: The first atom of every pair.
        second: The second one.
    """

    def __init__(self, first: Int[Tensor, " pair"], second: Int[Tensor, " pair"]) -> None:
        self.first, self.second = first, second

    def distances(self, x: Float[Tensor, "image atom 3"]) -> tuple[Tensor, Tensor]:
        """Distances r (image, pair), nm, and the unit vectors (image, pair, 3) from the second atom to the first."""
        between = x[:, self.first] - x[:, self.second]
        r = between.norm(dim=-1)
        return r, between / r.unsqueeze(-1)

    def add_to(
        self, squares: Squares, r: Tensor, unit: Tensor, slope: Float[Tensor, "image pair"], curvature: Tensor
    ) -> None:
        """Add the second derivatives of an energy u(r) of every pair, given u'(r) and u''(r).

        With the unit vector e along the pair, each atom gets u'' e e^T + (u'/r) (1 - e e^T), and the two atoms together
        the negative of it.
        """
        across = slope / r
        square = (curvature - across)[..., None, None] * unit.unsqueeze(-1) * unit.unsqueeze(-2)
        square.diagonal(dim1=-2, dim2=-1).add_(across.unsqueeze(-1))
        both = square.flatten(-2)
        atoms = _atoms(squares)
        for a, b, sign in (
            (self.first, self.first, 1),
            (self.second, self.second, 1),
            (self.first, self.second, -1),
            (self.second, self.first, -1),
        ):
            squares.index_add_(1, a * atoms + b, both, alpha=sign)


def add_matrices(
    squares: Squares, groups: Int[Tensor, "group size"], matrices: Float[Tensor, "image group size 3 size 3"]
) -> None:
    """Add the second derivatives of energies of groups of a few atoms."""
    size, atoms = groups.shape[1], _atoms(squares)
    for p in range(size):
        for q in range(size):
            place = groups[:, p] * atoms + groups[:, q]
            squares.index_add_(1, place, matrices[:, :, p, :, q].flatten(-2))


def add_matrix(squares: Squares, matrix: Float[Tensor, "image n n"]) -> None:
    """Add second derivatives (n = 3 atoms) of all atoms together."""
    atoms = _atoms(squares)
    squares += matrix.view(-1, atoms, 3, atoms, 3).transpose(2, 3).reshape(squares.shape)


def as_matrix(squares: Squares) -> Float[Tensor, "image n n"]:
    """Second derivatives as symmetric matrices with n = 3 atoms rows."""
    atoms = _atoms(squares)
    return squares.view(-1, atoms, atoms, 3, 3).transpose(2, 3).reshape(len(squares), 3 * atoms, 3 * atoms)


def _atoms(squares: Squares) -> int:
    return round(squares.shape[1] ** 0.5)

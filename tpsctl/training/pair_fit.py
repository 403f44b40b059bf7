"""Closed-form score matching of a pair energy, noise width by noise width.

With score(y) = -sum_k c_k grad phi_k(r_p(y)) and targets T for the score, the least-squares problem

    minimize over c   sum_y w(y) | T + sum_k c_k grad phi_k |^2  +  penalty * sum_k c_k^2 A_kk / n

over n equations has the normal equations (A + ridge) c = b. The gradient of a term has components at the two beads of
its pair only, or at the three of its angle, so A is a sum of one dense block per bead over the pairs and angles of that
bead. The blocks are all that is stored: for N beads with K terms per pair these are about N ((N - 1) K)^2 numbers, not
(N (N - 1) K / 2)^2. The equations are solved by conjugate gradients, preconditioned by the K x K matrices of the single
pairs and angles, to a residual far below the noise of b.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from tpsctl.errors import DataError
from tpsctl.networks.chain_energy.coordinates import ChainCoordinates
from tpsctl.networks.chain_energy.pair_energy import PairEnergy
from tpsctl.training.targets import NoisedFrames, TargetSource

_CHUNK = 500
_RIDGE = 10.0
_RELATIVE_RESIDUAL = 1e-6
_MOST_ITERATIONS = 5000


class PairFit:
    """The fit of a pair energy; its tables of distances must be set before.

    Args:
        energy: The energy whose coefficients are fitted.
        coordinates: The pairs and angles.
        source: Draws noised structures with targets.
        samples: Number of noised structures per width.
    """

    def __init__(
        self, energy: PairEnergy, coordinates: ChainCoordinates, source: TargetSource, *, samples: int
    ) -> None:
        self._energy, self._coordinates, self._source, self._samples = energy, coordinates, source, samples

    @property
    def widths_nm(self) -> list[float]:
        """All widths to fit, nm."""
        return self._energy.log_sigmas.exp().tolist()

    def fit(self, level: int, generator: torch.Generator, pause: Callable[[], None] = lambda: None) -> float:
        """Fit the width `widths_nm[level]`.

        Args:
            level: Number of the width.
            generator: Source of randomness of the noise.
            pause: Called every few seconds; if it raises, nothing is changed.

        Returns:
            Explained fraction of the variance of the targets.

        Raises:
            DataError: The equations have no solution that can be found.
        """
        equations = NormalEquations(self._coordinates.beads, self._energy.coefficients.shape[2])
        sigma = self._energy.log_sigmas[level].exp()
        for _ in range(0, self._samples, _CHUNK):
            pause()
            self._add(equations, self._source.draw(sigma.expand(_CHUNK), generator), pause)
        solution = equations.solve(_RIDGE, pause)
        self._energy.coefficients[level] = solution.to(self._energy.coefficients)
        return equations.explained(solution)

    def _add(self, equations: "NormalEquations", batch: NoisedFrames, pause: Callable[[], None]) -> None:
        vectors = self._coordinates.vectors(batch.y)
        slopes = self._energy.tables(batch.sigma).slopes(self._coordinates.fitted(vectors))
        equations.add(self._coordinates.bead_slopes(vectors), slopes, batch.target, batch.weight, pause)


class NormalEquations:
    """The matrix A in blocks, one per bead, the vector b, and the sum of squares of the targets.

    Args:
        beads: The beads of every coordinate, -1 in places that are not used.
        n_terms: Number of terms per coordinate.
    """

    def __init__(self, beads: Int[Tensor, "coordinate place"], n_terms: int) -> None:
        self._count, self._n_terms = len(beads), n_terms
        found = [(beads == bead).nonzero() for bead in range(int(beads.max()) + 1)]
        most = max(map(len, found))
        # Every bead has as many rows as the one with most; the rest belong to a coordinate that is zero, the last one.
        nothing = torch.tensor([[self._count, 0]])
        rows = torch.stack([torch.cat((rows, nothing.expand(most - len(rows), 2))) for rows in found])
        self._of_bead, self._place = rows.unbind(2)  # (bead, row)
        terms = self._of_bead.unsqueeze(2) * n_terms + torch.arange(n_terms)
        self._index = terms.flatten(1)
        size = self._index.shape[1]
        self._blocks = torch.zeros(len(found), size, size, dtype=torch.float64)
        self._right = torch.zeros((self._count + 1) * n_terms, dtype=torch.float64)
        self._square, self._equations = 0.0, 0

    def add(
        self,
        gradients: Float[Tensor, "batch coordinate place 3"],
        slopes: Float[Tensor, "batch coordinate term"],
        targets: Float[Tensor, "batch bead 3"],
        weights: Float[Tensor, " batch"],
        pause: Callable[[], None],
    ) -> None:
        """Add the equations of a batch.

        Args:
            gradients: Derivatives of every coordinate with respect to its beads.
            slopes: Derivatives of all terms with respect to the coordinate.
            targets: Targets of the score.
            weights: Weights of the structures.
            pause: Called between beads.
        """
        root = weights.sqrt().reshape(-1, 1, 1)
        gradients, slopes = functional.pad(gradients, (0, 0, 0, 0, 0, 1)), functional.pad(slopes, (0, 0, 0, 1))
        for bead, (chosen, place) in enumerate(zip(self._of_bead, self._place, strict=True)):
            pause()
            along = gradients[:, chosen, place] * root
            rows = (along.transpose(1, 2).unsqueeze(3) * slopes[:, chosen].unsqueeze(1)).flatten(2).flatten(0, 1)
            values = (targets[:, bead] * root.squeeze(2)).flatten()
            self._blocks[bead] += rows.T @ rows
            self._right.index_add_(0, self._index[bead], -(rows.T @ values).double())
            self._square += float(values.double().square().sum())
            self._equations += len(values)

    def solve(self, ridge: float, pause: Callable[[], None]) -> Float[Tensor, "coordinate term"]:
        """The solution with a ridge as strong as so many equations, by preconditioned conjugate gradients.

        Raises:
            DataError: The equations are not finite, or too badly conditioned.
        """
        own = self._own_matrices()
        diagonal = own.diagonal(dim1=1, dim2=2)
        strength = ridge * (diagonal + 1e-6 * diagonal.mean()) / self._equations
        own = own + torch.diag_embed(strength)
        factor, info = torch.linalg.cholesky_ex(own)
        if not bool(self._right.isfinite().all()) or bool(info.any()):
            raise DataError("the fit of the pair energies has no solution: look for broken frames in the data.")

        def product(c: Tensor) -> Tensor:
            return self._product(c) + strength.flatten() * c

        def preconditioned(r: Tensor) -> Tensor:
            return torch.cholesky_solve(r.view(self._count, -1, 1), factor).flatten()

        right = self._right[: -self._n_terms]
        return conjugate_gradients(product, preconditioned, right, pause).view(self._count, -1)

    def explained(self, solution: Float[Tensor, "coordinate term"]) -> float:
        """Fraction of the targets' mean square that a solution explains."""
        c = solution.flatten()
        return float(2 * c @ self._right[: -self._n_terms] - c @ self._product(c)) / self._square

    def _product(self, c: Tensor) -> Tensor:
        c = functional.pad(c, (0, self._n_terms))
        parts = torch.bmm(self._blocks, c[self._index].unsqueeze(2)).squeeze(2)
        return torch.zeros_like(c).index_add_(0, self._index.flatten(), parts.flatten())[: -self._n_terms]

    def _own_matrices(self) -> Float[Tensor, "coordinate term term"]:
        """The part of A that belongs to one coordinate alone, for every coordinate."""
        k = self._n_terms
        split = self._blocks.unflatten(2, (-1, k)).unflatten(1, (-1, k)).permute(0, 1, 3, 2, 4)
        slots = torch.arange(split.shape[1])
        own = split[:, slots, slots].flatten(0, 1)
        return own.new_zeros(self._count + 1, k, k).index_add_(0, self._of_bead.flatten(), own)[:-1]


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    preconditioned: Callable[[Tensor], Tensor],
    right: Tensor,
    pause: Callable[[], None],
) -> Tensor:
    """Solve a symmetric positive definite system to a relative residual of 1e-6.

    Raises:
        DataError: It takes too many iterations.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    z = preconditioned(residual)
    direction, rho = z.clone(), residual @ z
    target = _RELATIVE_RESIDUAL * right.norm()
    for _ in range(_MOST_ITERATIONS):
        if residual.norm() <= target:
            return solution
        pause()
        along = product(direction)
        step = rho / (direction @ along)
        solution, residual = solution + step * direction, residual - step * along
        z = preconditioned(residual)
        rho, before = residual @ z, rho
        direction = z + rho / before * direction
    raise DataError("the fit of the pair energies did not converge: look for duplicated beads or frames in the data.")

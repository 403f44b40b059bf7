"""Cheap local searches, which leave a minimum or a saddle by a random move and climb to a nearby saddle."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates, dihedral_gradients
from tpsctl.landscape.minimum import MinimumSettings, descend
from tpsctl.landscape.moves import Bonds, Move, draw_move, draw_variant
from tpsctl.landscape.saddle import SaddleSettings, climb_to_saddles
from tpsctl.landscape.stationary import NOTICEABLE_CURVATURE, Points, curvatures, is_rigid
from tpsctl.landscape.surface import Surface

RELAX = MinimumSettings(quadratic_below=60.0, max_steps=40, max_move_nm=0.02)
"""After a move, strain is relaxed until |grad U| outside the held directions is below 60 kJ/mol/nm, or for 40 steps."""


DrawFn = Callable[[Tensor, Tensor, Tensor, Bonds, torch.Generator], Move]
"""(configuration (atom, dim), curvatures (n,), modes (n, n), bonds, generator) -> a random move away from there."""


def out_of_minimum(x: Tensor, values: Tensor, vectors: Tensor, bonds: Bonds, generator: torch.Generator) -> Move:
    """A move out of a minimum; the arguments are those of `DrawFn`."""
    return draw_move(x, vectors[:, (values > NOTICEABLE_CURVATURE) & ~is_rigid(values)], bonds, generator)


def variant_of_saddle(x: Tensor, values: Tensor, vectors: Tensor, bonds: Bonds, generator: torch.Generator) -> Move:
    """A variant of a saddle; the arguments are those of `DrawFn`, with the lowest curvature first."""
    return draw_variant(x, vectors[:, 0], bonds, generator)


def search_nearby(
    surface: Surface,
    start: Float[Tensor, "batch atom dim"],
    draws: Sequence[DrawFn],
    bonds: Bonds,
    coordinates: Coordinates,
    generators: Sequence[torch.Generator],
    settings: SaddleSettings | None = None,
) -> Points:
    """Search for one saddle from each minimum or saddle; `converged` of the result says where one was found.

    Args:
        surface: Energy and its derivatives.
        start: Minima and saddles to leave, nm; one may occur several times.
        draws: How each is left: `out_of_minimum` or `variant_of_saddle`.
        bonds: Bonds about which parts can turn.
        coordinates: Turns steps into configurations.
        generators: Source of randomness of each search.
        settings: Tolerances and limits of the climb; None for the defaults.
    """
    values, vectors = curvatures(surface, start, surface.hessian(start))
    moves = [
        draw(x, v, q, bonds, generator)
        for draw, x, v, q, generator in zip(draws, start, values, vectors, generators, strict=True)
    ]
    moved = torch.stack([move.x for move in moves])
    relaxed = descend(surface, moved, coordinates, RELAX, held=_Held(moves))
    return climb_to_saddles(surface, relaxed, coordinates, generators, _directions(relaxed, moves, bonds), settings)


class _Held:
    """The directions that a move holds while strain is relaxed, as `descend` asks for them."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._moves = moves
        self._width = max(1, max(len(move.turned) for move in moves))

    def __call__(self, x: Float[Tensor, "batch atom dim"], lanes: Tensor) -> Float[Tensor, "batch n k"]:
        found = x.new_zeros(len(x), x[0].numel(), self._width)
        for row, lane in enumerate(lanes.tolist()):
            move = self._moves[lane]
            if len(move.turned):
                rows = dihedral_gradients(x[row : row + 1], move.turned)[0]
                found[row, :, : len(rows)] = torch.linalg.qr(rows.T)[0]
            else:
                found[row, :, 0] = move.direction
        return found


def _directions(x: Float[Tensor, "batch atom dim"], moves: Sequence[Move], bonds: Bonds) -> Float[Tensor, "batch n"]:
    """The direction in which to climb, which continues the move."""
    rows = []
    for here, move in zip(x, moves, strict=True):
        direction = move.direction
        for quadruple, turn in zip(move.turned.tolist(), move.turns_rad.tolist(), strict=True):
            bond = bonds.dihedrals.index(tuple(quadruple))
            direction = direction + (bonds.turned(here, bond, 1e-4 * turn) - here).flatten()
        rows.append(direction)
    return torch.stack(rows)

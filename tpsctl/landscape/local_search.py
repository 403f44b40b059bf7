"""Cheap local searches, which leave a minimum or a saddle by a random move and climb to a nearby saddle."""

from collections.abc import Sequence

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


def search_from_minima(
    surface: Surface,
    minima: Float[Tensor, "batch atom dim"],
    bonds: Bonds,
    coordinates: Coordinates,
    generators: Sequence[torch.Generator],
    settings: SaddleSettings | None = None,
) -> Points:
    """Search for one saddle from each minimum; `converged` of the result says where one was found.

    Args:
        surface: Energy and its derivatives.
        minima: Minima to leave, nm; one may occur several times.
        bonds: Bonds about which parts can turn.
        coordinates: Turns steps into configurations.
        generators: Source of randomness of each search.
        settings: Tolerances and limits of the climb; None for the defaults.
    """
    values, vectors = curvatures(surface, minima, surface.hessian(minima))
    moves = [
        draw_move(x, _softest(v, q), bonds, generator)
        for x, v, q, generator in zip(minima, values, vectors, generators, strict=True)
    ]
    return _climbed(surface, moves, bonds, coordinates, generators, settings)


def search_from_saddles(
    surface: Surface,
    saddles: Float[Tensor, "batch atom 3"],
    bonds: Bonds,
    coordinates: Coordinates,
    generators: Sequence[torch.Generator],
    settings: SaddleSettings | None = None,
) -> Points:
    """Search for one variant of each saddle (see `moves`); `converged` of the result says where one was found.

    The arguments are those of `search_from_minima`, with saddles, nm, in place of minima.
    """
    _, vectors = curvatures(surface, saddles, surface.hessian(saddles))
    moves = [
        draw_variant(x, v[:, 0], bonds, generator) for x, v, generator in zip(saddles, vectors, generators, strict=True)
    ]
    return _climbed(surface, moves, bonds, coordinates, generators, settings)


def _climbed(
    surface: Surface,
    moves: Sequence[Move],
    bonds: Bonds,
    coordinates: Coordinates,
    generators: Sequence[torch.Generator],
    settings: SaddleSettings | None,
) -> Points:
    """Relax the strain of moves with what turned held, and climb."""
    start = torch.stack([move.x for move in moves])
    relaxed = descend(surface, start, coordinates, RELAX, held=_Held(moves))
    return climb_to_saddles(surface, relaxed, coordinates, generators, _directions(relaxed, moves, bonds), settings)


def _softest(values: Tensor, vectors: Tensor) -> Tensor:
    return vectors[:, (values > NOTICEABLE_CURVATURE) & ~is_rigid(values)]


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

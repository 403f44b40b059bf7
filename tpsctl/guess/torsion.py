"""Interpolation of torsions: the molecule turns about its bonds from one end to the other.

Bond lengths, angles and torsions (see `tpsctl.molecule.z_matrix`) go from the start's to the end's values,
torsions by the shorter way round. Bonds, handedness, the order of equivalent hydrogens and planar
groups are therefore kept all along; only distant parts can clash, and these are pushed apart at the end
(`tpsctl.guess.untangle`).
Paths differ by random waves

    phi(s) += c_1 sin(pi s) + c_2 sin(2 pi s) ,      c ~ N(0, spread^2)

on the freely rotating torsions, and may be sent the long way round. Way-points fix named torsions at
chosen fractions of the path, e.g. phi = 0, psi = 84 degrees halfway.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.guess.base import Guess, fix_gauge, fractions, normal
from tpsctl.guess.untangle import untangled
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import lone_hydrogens
from tpsctl.molecule.z_matrix import ZMatrix, ZMatrixValues, wrapped

PLANAR_DEG = 25.0
"""A torsion about a bond between atoms with fewer than four neighbors is stiff (amides) if it is within this many
degrees of 0 or 180 in both ends."""

LARGE_TURN_DEG = 60.0
"""Only torsions that change by more than this may go the long way round."""


@dataclass(frozen=True)
class Waypoint:
    """Named torsions at a fraction of the path.

    Attributes:
        fraction: Progress along the path, in (0, 1).
        torsions_deg: Values in degrees by name, e.g. {"phi ALA2": 0, "psi ALA2": 84}; the names are those of
            `Topology.backbone_dihedrals`.
    """

    fraction: float
    torsions_deg: dict[str, float]


class TorsionGuess(Guess):
    """Paths along which the molecule turns about its bonds.

    Args:
        topology: Bonds of the molecule.
        spread_deg: Standard deviation of the random waves, degrees; 0 makes all paths equal.
        long_way: Probability that a torsion which changes a lot goes the long way round.
        waypoints: Values of named torsions on the way; these torsions get no random wave.
        untangle: Whether clashing atoms are pushed apart.

    Raises:
        PathError: A way-point is outside (0, 1) or names an unknown torsion.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        spread_deg: float = 20.0,
        long_way: float = 0.0,
        waypoints: Sequence[Waypoint] = (),
        untangle: bool = True,
    ) -> None:
        self._topology = topology
        self._coordinates = ZMatrix(topology)
        self._spread = math.radians(spread_deg)
        self._long_way = long_way
        self._untangle = untangle
        self._waypoints = sorted(waypoints, key=lambda w: w.fraction)
        self._named = _named_torsions(topology, self._waypoints)

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        q = self._coordinates.to_internal(ends)
        s = fractions(ends, images).unsqueeze(-1)
        turn = wrapped(q.dihedrals[1] - q.dihedrals[0])
        free = self._free_torsions(q)
        # Both draws happen always and in one order, so that one option does not change the other's numbers.
        waves = normal((2, len(free)), generator, ends) * self._spread
        chosen = torch.rand(len(free), generator=generator, dtype=torch.float64).to(ends) < self._long_way
        dihedrals = q.dihedrals[0] + s * turn
        for k, atom in enumerate(free):
            if bool(chosen[k]) and abs(float(turn[atom])) > math.radians(LARGE_TURN_DEG):
                dihedrals[:, atom] -= s[:, 0] * 2 * math.pi * torch.sign(turn[atom])
            dihedrals[:, atom] += waves[0, k] * torch.sin(math.pi * s[:, 0])
            dihedrals[:, atom] += waves[1, k] * torch.sin(2 * math.pi * s[:, 0])
        for name, quadruple in self._named.items():
            self._send_through(dihedrals, name, quadruple, ends)
        lengths, angles = (v[0] + s * (v[1] - v[0]) for v in (q.lengths, q.angles))
        path = self._placed(self._coordinates.to_positions(ZMatrixValues(lengths, angles, dihedrals)), ends)
        return untangled(path, self._topology) if self._untangle else path

    def _free_torsions(self, q: ZMatrixValues) -> list[int]:
        """Atoms whose dihedral belongs to a bond that turns easily and moves more than the hydrogens of one atom."""
        free = []
        for (j, k), atom in self._coordinates.torsions.items():
            if (j, k) not in self._topology.rotatable_bonds or (j, k) in self._named_bonds:
                continue
            if any(lone_hydrogens(self._topology, end, without=other) for end, other in ((j, k), (k, j))):
                continue
            tetrahedral = any(len(self._topology.neighbors[i]) >= 4 for i in (j, k))
            away = wrapped(2 * q.dihedrals[:, atom]).abs() / 2  # distance to the nearest of 0 and 180 degrees
            if tetrahedral or bool((away > math.radians(PLANAR_DEG)).any()):
                free.append(atom)
        return free

    @property
    def _named_bonds(self) -> set[tuple[int, int]]:
        return {(min(j, k), max(j, k)) for _, j, k, _ in self._named.values()}

    def _send_through(self, dihedrals: Tensor, name: str, quadruple: tuple[int, int, int, int], ends: Tensor) -> None:
        """Replace one torsion along the path by straight pieces between its way-points, each the shorter way round."""
        _, j, k, _ = quadruple
        atom = self._coordinates.torsions[min(j, k), max(j, k)]
        start, end = dihedral(ends, torch.tensor([quadruple]))[:, 0].tolist()
        knots = [(0.0, start)]
        for waypoint in self._waypoints:
            if name in waypoint.torsions_deg:
                knots.append((waypoint.fraction, math.radians(waypoint.torsions_deg[name])))
        knots.append((1.0, end))
        s = fractions(ends, len(dihedrals))
        course = torch.full_like(s, start)
        for (s0, value0), (s1, value1) in zip(knots, knots[1:], strict=False):
            step = math.remainder(value1 - value0, 2 * math.pi)
            course += step * ((s - s0) / (s1 - s0)).clamp(0, 1)
        # All torsions about one bond turn alike: the internal coordinate turns by the angle of the named torsion.
        dihedrals[:, atom] = dihedrals[0, atom] + course - start

    def _placed(self, path: Float[Tensor, "image bead 3"], ends: Tensor) -> Tensor:
        """The path with every bonded fragment superposed on its straight line between the ends."""
        for fragment in self._coordinates.fragments:
            atoms = [p.atom for p in fragment]
            if len(atoms) < 3:
                path[:, atoms] = _carried(path[:, atoms], ends[:, atoms])
            else:
                path[:, atoms] = fix_gauge(path[:, atoms], ends[:, atoms])
        return path


def _carried(path: Tensor, ends: Tensor) -> Tensor:
    """Fragments of one or two atoms (ions), placed on straight lines between the ends."""
    s = fractions(ends, len(path)).reshape(-1, 1, 1)
    return (1 - s) * ends[0] + s * ends[1]


def _named_torsions(topology: Topology, waypoints: Sequence[Waypoint]) -> dict[str, tuple[int, int, int, int]]:
    """Atoms of every torsion that a way-point names."""
    known = dict(topology.backbone_dihedrals)
    named = {}
    for waypoint in waypoints:
        if not 0 < waypoint.fraction < 1:
            raise PathError(
                f"path.guess.waypoints: got fraction {waypoint.fraction}, expected a value between 0 and 1 (not equal)."
            )
        for name in waypoint.torsions_deg:
            if name not in known:
                raise PathError(
                    f'path.guess.waypoints: unknown torsion "{name}"; this molecule has '
                    f"{', '.join(sorted(known)) or 'no backbone torsions'}. Use one of these names."
                )
            named[name] = known[name]
    return named

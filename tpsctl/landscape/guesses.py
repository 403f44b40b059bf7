"""Diverse first paths between two structures, along which torsions turn in random directions at random times.

Bond lengths, angles and torsions go from their values in one end to those in the other (`tpsctl.molecule.z_matrix`).
A plain path turns all torsions together, each the short way. In other paths each torsion that changes by more than 60
degrees, amides included, turns either way with equal probability. Also with equal probability, a torsion

    turns evenly along the path, or turns within a random window of it, or makes a detour by a random value halfway.

For large molecules torsions can turn residue by residue, from either end of the chain, which avoids the clashes that
arise when all turn together. Clashes that remain are removed by a repair that the caller gives.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.z_matrix import ZMatrix, ZMatrixValues, wrapped

EITHER_WAY_DEG = 60.0
"""Torsions that change by more than this may turn either way."""

CHANGED_DEG = 30.0
"""A torsion counts as changed if it differs by more than this between both ends."""

IN_TURN_ATOMS = 60
"""From here on torsions turn residue by residue, because they clash when all turn together."""

WINDOW = (0.25, 0.6)
"""Range of the length of a random time window, as a fraction of the path."""

DETOUR_DEG = 60.0
"""Standard deviation of the random detour of a torsion halfway, degrees."""

Repair = Callable[[Tensor], Tensor]
"""A path (image, atom, 3), nm -> the same path without clashes and with the same ends."""


class TurningGuesses:
    """Random first paths of one molecule.

    Args:
        topology: Atoms and bonds.
        repair: Removes clashes from a path; None leaves clashes as they are.
    """

    def __init__(self, topology: Topology, repair: Repair | None = None) -> None:
        self._internal = ZMatrix(topology)
        self._repair = repair
        self._size = topology.n_atoms
        bonds = sorted(self._internal.torsions)
        self._turning = [self._internal.torsions[bond] for bond in bonds]
        rotatable = set(topology.rotatable_bonds)
        self._free = [bond in rotatable for bond in bonds]
        self._residue = [topology.atoms[bond[1]].residue_id for bond in bonds]

    def draw(
        self,
        ends: Float[Tensor, "2 atom 3"],
        images: int,
        generator: torch.Generator,
        *,
        plain: bool = False,
        in_turn: bool = False,
    ) -> Float[Tensor, "image atom 3"]:
        """Draw one path, nm; its first and last image are the ends, the last one superposed on the image before it.

        Args:
            ends: Both structures, nm.
            images: Number of images, ends included.
            generator: Source of randomness; how many numbers are drawn does not depend on the ends.
            plain: Whether every torsion turns the short way, without window or detour.
            in_turn: Whether residues turn one after another, those that change little excepted, instead of together.
        """
        q = self._internal.to_internal(ends)
        s = torch.linspace(0, 1, images).to(ends)
        turn = wrapped(q.dihedrals[1] - q.dihedrals[0])
        dihedrals = q.dihedrals[0] + s[:, None] * turn
        count = len(self._turning)
        chance = torch.rand(count, 4, generator=generator, dtype=torch.float64)
        detour = torch.randn(count, generator=generator, dtype=torch.float64) * math.radians(DETOUR_DEG)
        backwards = float(torch.rand((), generator=generator, dtype=torch.float64)) < 0.5
        courses = self._in_turn(s, turn, backwards=backwards) if in_turn else {}
        for k, atom in enumerate(self._turning):
            change = float(turn[atom])
            course = courses.get(self._residue[k], s)
            bend = torch.zeros_like(s)
            if not plain:
                change = _either_way(change, float(chance[k, 0]))
                style = int(3 * float(chance[k, 1]))
                if style == 1 and not in_turn:
                    course = _window(s, float(chance[k, 2]), float(chance[k, 3]))
                if style == 2 and self._free[k]:
                    bend = float(detour[k]) * torch.sin(math.pi * s)
            dihedrals[:, atom] = q.dihedrals[0, atom] + course * change + bend
        lengths, angles = (v[0] + s[:, None] * (v[1] - v[0]) for v in (q.lengths, q.angles))
        return self._finished(ZMatrixValues(lengths, angles, dihedrals), ends)

    def of_style(
        self, ends: Float[Tensor, "2 atom 3"], images: int, generator: torch.Generator, style: int
    ) -> Float[Tensor, "image atom 3"]:
        """Draw a path of a style (see `attempts.GuessFn`): plain for style 0; from 60 atoms on, residues take turns."""
        return self.draw(ends, images, generator, plain=style == 0, in_turn=self._size >= IN_TURN_ATOMS)

    def _finished(self, q: ZMatrixValues, ends: Tensor) -> Tensor:
        path = self._internal.to_positions(q)
        images = [ends[0]]
        for image in path[1:-1]:
            images.append(superpose(image, images[-1]))
        path = torch.stack([*images, superpose(ends[1], images[-1])])
        return path if self._repair is None else self._repair(path)

    def _in_turn(self, s: Tensor, turn: Tensor, *, backwards: bool) -> dict[int, Tensor]:
        """Progress of each residue that changes; they share the path out equally, from either end of the chain."""
        limit = math.radians(CHANGED_DEG)
        changed = sorted({r for r, atom in zip(self._residue, self._turning, strict=True) if abs(turn[atom]) > limit})
        order = changed[::-1] if backwards else changed
        return {residue: (s * len(order) - k).clamp(0, 1) for k, residue in enumerate(order)}


def _either_way(change: float, chance: float) -> float:
    """The change of a torsion, rad, or with half chance the change in the other direction, to the same value."""
    if abs(change) < math.radians(EITHER_WAY_DEG) or chance < 0.5:
        return change
    return change - math.copysign(2 * math.pi, change)


def _window(s: Tensor, start: float, length: float) -> Tensor:
    """Progress of a torsion that turns only within a window of the path, from 0 to 1."""
    low, high = WINDOW
    span = low + (high - low) * length
    return ((s - start * (1 - span)) / span).clamp(0, 1)

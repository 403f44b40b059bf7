"""Observables that are plain geometry: distances, angles, dihedrals and their cosines, sizes, contacts."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tpsctl.molecule.contacts import NativeContacts
from tpsctl.molecule.geometry import center, dihedral
from tpsctl.molecule.observables.base import Observable

_TURN_DEG = 360.0


def pair_distance(x: Tensor, first: int, second: int) -> Tensor:
    """Distance of two beads, nm."""
    return (x[:, first] - x[:, second]).norm(dim=-1)


class Distance(Observable):
    """Distance of two beads, nm."""

    unit = "nm"

    def __init__(self, name: str, atoms: Sequence[int]) -> None:
        self.name = name
        self._first, self._second = atoms

    def __call__(self, x: Tensor) -> Tensor:
        return pair_distance(x, self._first, self._second)


class BondAngle(Observable):
    """Angle at the second of three beads, degrees."""

    unit = "deg"

    def __init__(self, name: str, atoms: Sequence[int]) -> None:
        self.name = name
        self._atoms = tuple(atoms)

    def __call__(self, x: Tensor) -> Tensor:
        i, j, k = (x[:, atom] for atom in self._atoms)
        a, b = i - j, k - j
        sine = torch.linalg.cross(a, b).norm(dim=-1)
        return torch.atan2(sine, (a * b).sum(-1)).rad2deg()


class DihedralAngle(Observable):
    """Dihedral angle, degrees in (-180, 180].

    Its average means something only where it stays away from 180 degrees; elsewhere use `DihedralCosine`.
    """

    unit = "deg"
    period = _TURN_DEG

    def __init__(self, name: str, atoms: Sequence[int]) -> None:
        self.name = name
        self._atoms = tuple(atoms)

    def __call__(self, x: Tensor) -> Tensor:
        return angle_of(x, self._atoms).rad2deg()


class DihedralCosine(Observable):
    """Cosine of a dihedral angle plus a phase, so that a phase of -90 degrees gives its sine."""

    def __init__(self, name: str, atoms: Sequence[int], phase_deg: float = 0.0) -> None:
        self.name = name
        self._atoms, self._phase = tuple(atoms), math.radians(phase_deg)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cos(angle_of(x, self._atoms) + self._phase)


class RadiusOfGyration(Observable):
    """Root mean square distance of the beads from their center of mass, weighted by mass, nm."""

    unit = "nm"

    def __init__(self, name: str, masses_amu: Sequence[float]) -> None:
        self.name = name
        masses = torch.tensor(masses_amu, dtype=torch.float64)
        self._weights = masses / masses.sum()

    def __call__(self, x: Tensor) -> Tensor:
        w = self._weights.to(x)
        return (w * center(x, w).square().sum(-1)).sum(-1).sqrt()


class ContactFraction(Observable):
    """The fraction of native contacts Q (`tpsctl.molecule.contacts`)."""

    def __init__(self, name: str, contacts: NativeContacts) -> None:
        self.name, self._contacts = name, contacts

    def __call__(self, x: Tensor) -> Tensor:
        return self._contacts.fraction(x)


def angle_of(x: Tensor, atoms: Sequence[int]) -> Tensor:
    """One dihedral angle of each configuration, rad."""
    return dihedral(x, torch.tensor([list(atoms)], device=x.device))[:, 0]

"""Observables of experiments in solution: scalar couplings, nuclear Overhauser effects, energy transfer.

    scalar coupling    3J = A cos^2(phi + phase) + B cos(phi + phase) + C                    (Karplus)
    NOE distance       <mean over pairs of r^-6>^(-1/6)
    FRET efficiency    1 / (1 + (r / R0)^6)

The NOE distance is that of slow internal motion, without angular averaging, and the efficiency that of fast reorienting
dyes at the two named beads: linkers are not modeled.

Source: Karplus, J. Chem. Phys. 30 (1959) 11; coefficients: Voegeli, Ying, Grishaev, Bax, J. Am. Chem. Soc. 129 (2007)
9377; Tropp, J. Chem. Phys. 72 (1980) 6035 (r^-6); Foerster, Ann. Phys. 437 (1948) 55.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.molecule.observables.base import Observable
from tpsctl.molecule.observables.geometric import angle_of, pair_distance


@dataclass(frozen=True)
class Karplus:
    """Coefficients of a Karplus curve.

    Attributes:
        a_hz: A.
        b_hz: B.
        c_hz: C.
        phase_deg: Added to the backbone dihedral phi.
    """

    a_hz: float
    b_hz: float
    c_hz: float
    phase_deg: float


COUPLINGS = {
    "HN-HA": Karplus(8.40, -1.36, 0.33, -60.0),
    "HN-C": Karplus(4.36, -1.08, -0.01, 180.0),
    "HN-CB": Karplus(3.71, -0.59, 0.08, 60.0),
}
"""Curves of three-bond couplings about phi, by the two nuclei; Voegeli et al. 2007, fits with rigid structures."""


class ScalarCoupling(Observable):
    """A three-bond scalar coupling about a dihedral, Hz.

    Args:
        name: Its name.
        atoms: The four atoms of the backbone dihedral phi.
        curve: Its Karplus curve.
    """

    unit = "Hz"

    def __init__(self, name: str, atoms: Sequence[int], curve: Karplus) -> None:
        self.name = name
        self._atoms, self._curve = tuple(atoms), curve

    def __call__(self, x: Tensor) -> Tensor:
        c = self._curve
        cosine = torch.cos(angle_of(x, self._atoms) + math.radians(c.phase_deg))
        return c.a_hz * cosine.square() + c.b_hz * cosine + c.c_hz


class NoeDistance(Observable):
    """The distance of a nuclear Overhauser effect, nm, averaged as r^-6 over pairs of nuclei and the ensemble.

    Args:
        name: Its name.
        pairs: Pairs of nuclei that the experiment does not tell apart.
    """

    unit = "nm"

    def __init__(self, name: str, pairs: Sequence[tuple[int, int]]) -> None:
        self.name, self._pairs = name, tuple(pairs)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.stack([pair_distance(x, *pair) ** -6 for pair in self._pairs], 1).mean(1)

    def shown(self, average: float) -> float:
        return average ** (-1 / 6)

    def averaged(self, reported: float) -> float:
        return reported**-6

    def _slope(self, average: float) -> float:
        return -(average ** (-7 / 6)) / 6


class TransferEfficiency(Observable):
    """Efficiency of Foerster resonance energy transfer between two beads.

    Args:
        name: Its name.
        atoms: The two beads.
        radius_nm: The Foerster radius R0, nm.
    """

    def __init__(self, name: str, atoms: Sequence[int], radius_nm: float) -> None:
        self.name = name
        self._first, self._second = atoms
        self._radius_nm = radius_nm

    def __call__(self, x: Tensor) -> Tensor:
        return 1 / (1 + (pair_distance(x, self._first, self._second) / self._radius_nm) ** 6)

"""How many labeled copies of a state count as one: its degeneracy g.

The network knows a state up to relabelings of equivalent atoms, which form a group G (`tpsctl.landscape.equivalence`).
A relabeling that carries the structure into itself by a rotation gives the same copy again, so that

    g = |G| / |those relabelings of G that are rotations of the structure|

With g in the free energies F = F_0 - kT ln g, the rate constant (kT/h) exp(-(F_saddle - F_minimum)/kT) counts every way
out of one copy of a minimum, and the symmetry numbers of rotation are contained in it. Relabelings keep the handedness
of all centers; mirror images are therefore states of their own and not copies.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.equivalence import SAME_RMSD_NM, Equivalence, Unit
from tpsctl.molecule.geometry import rmsd

DISTANCE_TOLERANCE_NM = 5e-3
"""A relabeling under which a distance between atoms changes by more than this is no rotation. It only saves superposing
the other relabelings; `SAME_RMSD_NM` decides."""


def distinct_copies(equivalence: Equivalence, x: Float[Tensor, "atom dim"]) -> int:
    """Number g of labeled copies of a state that count as one; 1 where no relabeling is allowed.

    Args:
        equivalence: Which relabelings are allowed.
        x: A configuration of the state, nm.

    Source: Gilson and Irikura, J. Phys. Chem. B 114 (2010) 16304 (labeled copies instead of symmetry numbers).
    """
    if not equivalence.units:
        return 1
    rotations = 0
    for order in _keeping_distances(equivalence.units, x):
        rotations += float(rmsd(x[order], x)) < SAME_RMSD_NM
    return equivalence.copies // rotations


def _keeping_distances(units: Sequence[Unit], x: Float[Tensor, "atom dim"]) -> Iterator[list[int]]:
    """Relabelings, as orders of the atoms, that keep all distances; the one that changes nothing is among them.

    Units are relabeled one after another, and a unit's option is given up as soon as distances to unmoved atoms or to
    atoms of earlier units change.
    """
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    movable = {i for unit in units for i in unit.atoms}
    settled = [i for i in range(len(x)) if i not in movable]

    def extended(order: list[int], settled: list[int], rest: Sequence[Unit]) -> Iterator[list[int]]:
        if not rest:
            yield order
            return
        unit, atoms = rest[0], list(rest[0].atoms)
        known = [*settled, *atoms]
        for option in unit.options:
            trial = list(order)
            for atom, other in zip(atoms, option, strict=True):
                trial[atom] = other
            there = [trial[i] for i in known]
            change = distance[list(option)][:, there] - distance[atoms][:, known]
            if float(change.abs().max()) < DISTANCE_TOLERANCE_NM:
                yield from extended(trial, known, rest[1:])

    yield from extended(list(range(len(x))), settled, units)

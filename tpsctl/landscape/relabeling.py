"""How far apart relabeled copies of one state are on a landscape that tells equivalent atoms apart.

The energy of a force field does not change when the hydrogens of a methyl change places. A network that was trained on
labeled atoms has learned this only roughly: each state of the molecule is there once for every labeling, with slightly
different energies and structures. A search that took these copies for different states would find 3 * 3 * 3 of each in
a molecule with three methyls, and would not end. So the copies of both ends are compared, and their spread says how
much copies of one state may differ (`Equivalence.relabeled`).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.landscape.coordinates import Coordinates
from tpsctl.landscape.equivalence import EXACT, Equivalence, Tolerance
from tpsctl.landscape.minimum import minimize
from tpsctl.landscape.surface import Surface
from tpsctl.molecule.geometry import rmsd

MOST_COPIES = 9
"""Most relabeled copies of an end that are minimized and compared."""

MARGIN = 2.0
"""Copies of other states may differ by this factor more than those of the ends."""

MOST_ENERGY = 2.5
"""Largest difference of copies, kJ/mol (kT at 300 K). A landscape whose copies differ by more has not learned that
these atoms are equivalent, and its copies are different states."""

MOST_RMSD_NM = 0.02
"""The same for structures."""


def tolerance_of_copies(
    surface: Surface, ends: Float[Tensor, "2 atom dim"], coordinates: Coordinates, equivalence: Equivalence
) -> Tolerance:
    """How much relabeled copies of a state may differ on this landscape, from the copies of both ends.

    Args:
        surface: The energy.
        ends: A and B, nm, which are minimized with every labeling that is compared.
        coordinates: Turns steps into configurations.
        equivalence: Which relabelings are allowed.

    Returns:
        `EXACT` where copies do not differ, where no relabeling is allowed, and where copies differ by more than
        `MOST_ENERGY` or `MOST_RMSD_NM`, so that they are different states.
    """
    orders = _labelings(equivalence, ends.shape[1])
    if len(orders) < 2:
        return EXACT
    energy = rms = 0.0
    for end in ends:
        copies = minimize(surface, end[orders], coordinates)
        if not bool(copies.converged.all()):
            return EXACT
        first = copies.x[0]
        energy = max(energy, float(copies.energy.max() - copies.energy.min()))
        rms = max(rms, *(float(rmsd(x, first[order])) for x, order in zip(copies.x, orders, strict=True)))
    if energy > MOST_ENERGY or rms > MOST_RMSD_NM:
        return EXACT
    return Tolerance(max(EXACT.energy, MARGIN * energy), max(EXACT.rmsd_nm, MARGIN * rms))


def _labelings(equivalence: Equivalence, atoms: int) -> Tensor:
    """Orders of the atoms, the given one first: all labelings, or `MOST_COPIES` of them at equal distances."""
    wanted = torch.linspace(0, equivalence.copies - 1, min(MOST_COPIES, equivalence.copies)).round().long().tolist()
    sizes = [len(unit.options) for unit in equivalence.units]
    strides = [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    orders = []
    for number in wanted:
        order = list(range(atoms))
        for unit, stride, size in zip(equivalence.units, strides, sizes, strict=True):
            for atom, other in zip(unit.atoms, unit.options[number // stride % size], strict=True):
                order[atom] = other
        orders.append(order)
    return torch.tensor(orders).reshape(-1, atoms)

"""Checks that a System has the atoms of the molecule in the same order.

The number of atoms is always compared. If the source names elements, they are compared atom by atom. If it has masses
only, these are compared with the masses of the elements. Deuterium is recognized, and so is hydrogen mass
repartitioning, because a heavy atom and its hydrogens together keep their mass. Bonds reveal two atoms of one element
in the wrong order: every bond of the molecule must be a bond of the source too. Beads that are no atoms have no
elements, so only their number and bonds are compared.
"""

from collections.abc import Sequence

from tpsctl.errors import ValidationError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.topology import Topology

_SAME_MASS_AMU = 0.5
"""Half of the smallest difference in mass between two elements that occur in one molecule (H, He; C, N)."""

_DEUTERIUM = {"H": (2.014,)}

_COVALENT = frozenset("H B C N O F Si P S Cl Se Br I".split())
"""Every force field has the bonds between these elements; coordination bonds of a metal may be missing."""


def require_count(found: int, topology: Topology, name: str) -> None:
    """Refuse a source with another number of atoms.

    Raises:
        ValidationError: The numbers differ; the message names both.
    """
    if found != topology.n_atoms:
        raise ValidationError(
            f"{name} has {found} atoms, the structure has {topology.n_atoms}. Give the System of the very molecule "
            "that the structure holds, or select its atoms (endpoints.select)."
        )


def require_elements(elements: Sequence[str], topology: Topology, name: str, labels: Sequence[str] = ()) -> None:
    """Refuse a source whose elements come in another order.

    Args:
        elements: Element symbols in the source, "" for an unknown one.
        topology: The molecule.
        name: How messages call the source.
        labels: Names of the source's atoms for messages; empty if it has none.

    Raises:
        ValidationError: An element differs; the message names the first atom that differs.
    """
    for i, (atom, element) in enumerate(zip(topology.atoms, elements, strict=True)):
        if atom.element and element and atom.element != element:
            theirs = f"{labels[i]} ({element})" if labels else element
            raise ValidationError(
                f"{name} does not fit the structure: atom {i + 1} is {atom.label} ({atom.element}) in the structure "
                f"and {theirs} there. {_REORDER}"
            )


def require_masses(masses_amu: Sequence[float], topology: Topology, name: str) -> None:
    """Refuse a System whose masses (amu) do not belong to the molecule's elements in this order.

    Raises:
        ValidationError: A mass differs; the message names the first atom that differs.
    """
    if kind_of_beads(topology) in (BeadKind.COARSE_GRAINED, BeadKind.ALPHA_CARBONS):
        return
    for i, atom in enumerate(topology.atoms):
        group = _heavy_group(topology, i)
        whole = sum(masses_amu[k] for k in group) - sum(topology.atoms[k].mass_amu for k in group)
        alone = min(abs(masses_amu[i] - mass) for mass in (atom.mass_amu, *_DEUTERIUM.get(atom.element, ())))
        if alone > _SAME_MASS_AMU and (len(group) == 1 or abs(whole) > _SAME_MASS_AMU):
            raise ValidationError(
                f"{name} does not fit the structure: atom {i + 1} is {atom.label} ({atom.element}, {atom.mass_amu:.3f} "
                f"amu) in the structure and has {masses_amu[i]:.3f} amu there. {_REORDER}"
            )


def require_bonds(pairs: set[frozenset[int]], topology: Topology, name: str) -> None:
    """Refuse a source that lacks a bond of the molecule; a source without any bonds is not checked.

    Args:
        pairs: Index pairs of the source's bonds.
        topology: The molecule.
        name: How messages call the source.

    Raises:
        ValidationError: A bond is missing; the message names the first one.
    """
    if not pairs:
        return
    for i, j in topology.bonds:
        a, b = topology.atoms[i], topology.atoms[j]
        known = {a.element, b.element} <= _COVALENT or not (a.element and b.element)
        if known and frozenset((i, j)) not in pairs:
            raise ValidationError(
                f"{name} does not fit the structure: {a.label} - {b.label} (atoms {i + 1} and {j + 1}) is a bond in "
                f"the structure and none there. {_REORDER}"
            )


_REORDER = "Bring the atoms of both into the same order."


def _heavy_group(topology: Topology, index: int) -> list[int]:
    """Indices of a heavy atom and its hydrogens, for the group that holds the atom `index`."""
    heavy = index
    if topology.atoms[index].element == "H" and topology.neighbors[index]:
        heavy = topology.neighbors[index][0]
    return [heavy, *(k for k in topology.neighbors[heavy] if topology.atoms[k].element == "H" and k != heavy)]

"""Bonds by distance, where neither the file states bonds nor the name of a residue tells them.

Two atoms are bonded if they are closer than the sum of their covalent radii and `SLACK_NM`. This is used for three
kinds of pairs: all atoms of a residue without any bond (a ligand, selenomethionine, a sugar), a single atom without a
bond and the atoms of its residue, and heavy atoms of two residues of which one has no bonds otherwise (two sugars, a
sugar and its asparagine). Only elements of covalent molecules are bonded, so that a metal never is, and a hydrogen has
one bond, to its nearest neighbor.

Radii: Cordero et al. 2008, doi:10.1039/b801115j, Table 2.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tpsctl.endpoints.contents import Bond, FileAtom
from tpsctl.molecule.elements import is_water
from tpsctl.molecule.neighbors import close_pairs

SLACK_NM = 0.04
"""Bonds are at most this much longer than the sum of the radii; atoms that are not bonded are 0.1 nm farther apart."""

RADII_NM = {
    "H": 0.031, "D": 0.031, "B": 0.084, "C": 0.076, "N": 0.071, "O": 0.066, "F": 0.057, "Si": 0.111, "P": 0.107,
    "S": 0.105, "Cl": 0.102, "As": 0.119, "Se": 0.120, "Br": 0.120, "I": 0.139,
}  # fmt: skip
"""Covalent radii of the elements that are bonded by distance, nm."""

_HYDROGENS = ("H", "D")

_SHORTEST_NM, _MOST_PER_ATOM = 0.05, 2.0
"""If half of the bonds are shorter, or there are more of them per atom, then the unit of length is wrong."""


def bonds_by_distance(
    atoms: Sequence[FileAtom],
    elements: Sequence[str],
    residues: Sequence[range],
    x: Float[np.ndarray, "atom 3"],
    bonds: set[Bond],
) -> set[Bond]:
    """Find the bonds that are not known otherwise.

    Args:
        atoms: All atoms of the file.
        elements: Their symbols, "" if unknown.
        residues: Indices of the atoms of every residue.
        x: Positions, nm.
        bonds: Bonds that are known, as sorted index pairs.

    Returns:
        The further bonds, as sorted index pairs.
    """
    home = np.array([number for number, residue in enumerate(residues) for _ in residue])
    loose, unknown, asked = _questions(atoms, elements, residues, bonds, home)
    asked &= np.isfinite(x).all(1)
    if not (loose & asked).any():
        return set()
    places = np.flatnonzero(asked)
    i, j = places[close_pairs(x[places], 2 * max(RADII_NM.values()) + SLACK_NM)].T
    radius = np.array([RADII_NM.get(symbol, 0.0) for symbol in elements])
    hydrogen = np.array([symbol in _HYDROGENS for symbol in elements])
    distance = np.linalg.norm(x[i] - x[j], axis=1)
    inside = (unknown[i] | loose[i] | loose[j]) & ~(hydrogen[i] & hydrogen[j])
    between = (unknown[i] | unknown[j]) & ~hydrogen[i] & ~hydrogen[j]
    bonded = (distance < radius[i] + radius[j] + SLACK_NM) & np.where(home[i] == home[j], inside, between)
    i, j, distance = i[bonded], j[bonded], distance[bonded]
    if not len(i) or np.median(distance) < _SHORTEST_NM or len(i) > _MOST_PER_ATOM * len(np.union1d(i, j)):
        return set()
    nearest_first = np.argsort(distance, kind="stable")
    pairs = [(int(a), int(b)) for a, b in zip(i[nearest_first], j[nearest_first], strict=True)]
    return _hydrogens_bonded_once([pair for pair in pairs if not _are_alternates(atoms, *pair)], hydrogen, bonds)


def _questions(
    atoms: Sequence[FileAtom],
    elements: Sequence[str],
    residues: Sequence[range],
    bonds: set[Bond],
    home: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every atom, whether its bonds are looked for, whether those of its whole residue are, and if it can have any.

    An atom that is alone in its residue has none, and neither have water molecules whose bonds are known. An atom with
    the name of another one of its residue is left without bonds if the others have some, so that it is refused later.
    """
    bonded, inside = np.zeros(len(home), dtype=bool), np.zeros(len(residues), dtype=bool)
    for i, j in bonds:
        bonded[[i, j]] = True
        inside[home[i]] |= home[i] == home[j]
    names = [Counter((atoms[i].name, atoms[i].alternate) for i in residue) for residue in residues]
    several = np.array([len({name for name, _ in found}) > 1 or max(found.values()) > 1 for found in names])[home]
    alike = np.array([names[number][atom.name, atom.alternate] > 1 for number, atom in zip(home, atoms, strict=True)])
    unknown = ~inside[home] & several
    loose = ~bonded & several & (unknown | ~alike)
    covalent = np.array([symbol in RADII_NM for symbol in elements])
    water = np.array([is_water(atom.residue_name) for atom in atoms])
    asked = np.zeros(len(residues), dtype=bool)
    asked[home[loose]] = True
    return loose, unknown, covalent & several & (asked[home] | ~water)


def _are_alternates(atoms: Sequence[FileAtom], i: int, j: int) -> bool:
    return bool(atoms[i].alternate and atoms[j].alternate and atoms[i].alternate != atoms[j].alternate)


def _hydrogens_bonded_once(pairs: Sequence[Bond], hydrogen: np.ndarray, bonds: set[Bond]) -> set[Bond]:
    """Keep of the pairs, nearest first, those in which no hydrogen has a bond already."""
    done = {k for bond in bonds for k in bond if hydrogen[k]}
    kept: set[Bond] = set()
    for pair in pairs:
        hydrogens = {k for k in pair if hydrogen[k]}
        if pair not in bonds and not hydrogens & done:
            kept.add(pair)
            done |= hydrogens
    return kept

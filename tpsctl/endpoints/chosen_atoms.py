"""Makes the beads of a path from the chosen atoms of a file: masses, bonds, and notes for the user."""

from collections.abc import Sequence
from dataclasses import replace

from tpsctl.endpoints.chain_bonds import Gap, judged
from tpsctl.endpoints.contents import Bond
from tpsctl.endpoints.reading import RawStructure
from tpsctl.endpoints.selecting import selected
from tpsctl.endpoints.structure import how_to_state_bonds
from tpsctl.molecule.elements import MASSES_AMU
from tpsctl.molecule.topology import Atom, Topology

_MOST_NOTES = 4
"""Largest number of residues without bonds that get a note each; one note counts the others."""


def beads_of(raw: RawStructure, select: str, source: str) -> tuple[list[int], Topology, tuple[str, ...]]:
    """Select atoms of a file, and make the topology of the selected beads.

    Args:
        raw: The file.
        select: Selection in MDTraj's language.
        source: Name of the file for messages.

    Returns:
        Indices of the selected atoms, their topology, and notes for the user.

    Raises:
        EndpointError: As `selected`.
    """
    chosen = selected(raw, select, source)
    atoms = tuple(_atom(raw, i) for i in chosen)
    place = {i: k for k, i in enumerate(chosen)}
    inside = tuple((place[i], place[j]) for i, j in raw.bonds if i in place and j in place)
    molecule = Topology(atoms, inside)
    notes = [*raw.contents.notes, *(f"{source}: {gap.text}." for gap in _crossed(raw, chosen))]
    alphas = [i for i in chosen if _is_alpha_carbon(raw, i)]
    others = [i for i in chosen if not _is_alpha_carbon(raw, i)]
    if alphas and not inside and all(_is_stray(raw, i) for i in others):
        bonds, gaps = _alpha_carbon_bonds(raw, alphas)
        molecule = replace(molecule, bonds=tuple(sorted((place[i], place[j]) for i, j in bonds)))
        notes += [f"{source}: {gap.text}; the C-alpha beads there are not bonded." for gap in gaps]
        notes += _stray_note(raw, others, select, source)
    notes += [*_measured_note(raw, chosen, source), *_deuterium_note(raw, chosen, source)]
    return chosen, molecule, (*notes, *_unbonded_notes(molecule, source))


def _atom(raw: RawStructure, index: int) -> Atom:
    atom, symbol = raw.atoms[index], raw.elements[index]
    return Atom(
        atom.name,
        "H" if symbol == "D" else symbol,
        atom.residue_name,
        atom.residue_id,
        atom.chain_id,
        MASSES_AMU[symbol],
        atom.insertion_code,
    )


def _crossed(raw: RawStructure, chosen: Sequence[int]) -> list[Gap]:
    """Gaps between chosen atoms of residues with consecutive numbers, where one chain ends and another begins."""
    atoms = {raw.atoms[i] for i in chosen}
    return [gap for gap in raw.gaps if gap.missing is None and gap.before in atoms and gap.after in atoms]


def _is_alpha_carbon(raw: RawStructure, index: int) -> bool:
    return (
        raw.atoms[index].name == "CA" and raw.elements[index] == "C" and raw.home[index] in raw.peptide_residues
    ) or _is_lone_bead(raw, index)


def _is_stray(raw: RawStructure, index: int) -> bool:
    """Whether an atom is no bead of the chain: an ion, or an atom of a ligand that is also called CA."""
    return len(raw.residues[raw.home[index]]) == 1 or raw.atoms[index].name == "CA"


def _is_lone_bead(raw: RawStructure, index: int) -> bool:
    """Whether an atom is a carbon CA that is alone in its residue.

    The name of the residue does not matter, because files of C-alpha beads have various names for modified residues.
    """
    return raw.atoms[index].name == "CA" and raw.elements[index] == "C" and len(raw.residues[raw.home[index]]) == 1


def _alpha_carbon_bonds(raw: RawStructure, alphas: Sequence[int]) -> tuple[set[Bond], list[Gap]]:
    """Bonds between C-alpha beads of residues that follow each other in one part of a chain."""
    order = {number: k for k, number in enumerate(sorted(raw.peptide_residues | {raw.home[i] for i in alphas}))}
    follow = {
        (i, j)
        for i, j in zip(alphas, alphas[1:], strict=False)
        if raw.atoms[i].part == raw.atoms[j].part and order[raw.home[j]] - order[raw.home[i]] == 1
    }
    return (
        judged(follow, raw.atoms, raw.frames[0], raw.contents.box_nm, beads=True) if len(raw.frames) else (follow, [])
    )


def _stray_note(raw: RawStructure, others: Sequence[int], select: str, source: str) -> list[str]:
    """A note about single atoms among the C-alpha beads, such as a calcium ion, that the selection includes too."""
    if not others:
        return []
    first = raw.atoms[others[0]]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return [
        f'{source}: the selection "{select}" also takes {first.label} ({raw.elements[others[0]]}){more}, which is no '
        f'C-alpha bead; it is not bonded to the chain. Write "({select}) and element C" to leave it out.'
    ]


def _measured_note(raw: RawStructure, chosen: Sequence[int], source: str) -> list[str]:
    """A note about bonds that were found by distance."""
    inside = set(chosen)
    bonds = sorted((i, j) for i, j in raw.measured if i in inside and j in inside)
    if not bonds:
        return []
    first = raw.atoms[bonds[0][0]].residue_label
    return [
        f"{source}: {len(bonds)} bonds (first in {first}) were found by distance, because neither the file nor the "
        f"names of its residues tell them. {how_to_state_bonds(source)}"
    ]


def _deuterium_note(raw: RawStructure, chosen: Sequence[int], source: str) -> list[str]:
    """A note about deuterium, which is treated as hydrogen with a mass of its own."""
    found = [i for i in chosen if raw.elements[i] == "D"]
    if not found:
        return []
    return [
        f"{source}: {len(found)} hydrogens are deuterium (element D, first: {raw.atoms[found[0]].label}): they are "
        f"treated as hydrogen (element H) with a mass of {MASSES_AMU['D']:.4f} amu."
    ]


def _unbonded_notes(molecule: Topology, source: str) -> list[str]:
    """One note per residue of several atoms in which an atom has no bond at all."""
    members: dict[tuple[str, int, str, str], list[int]] = {}
    for i, atom in enumerate(molecule.atoms):
        members.setdefault((atom.chain_id, atom.residue_id, atom.insertion_code, atom.residue_name), []).append(i)
    notes = []
    for (chain, number, code, name), found in members.items():
        loose = [i for i in found if not molecule.neighbors[i]]
        if loose and len(found) > 1:
            notes.append(
                f"{source}: no bonds are known for {len(loose)} of {len(found)} atoms of residue "
                f"{f'{chain}:' if chain else ''}{name}{number}{code}; they are matched by name only and their bonds "
                f"are not checked. {how_to_state_bonds(source)}"
            )
    if len(notes) > _MOST_NOTES:
        rest = len(notes) - _MOST_NOTES + 1
        notes[_MOST_NOTES - 1 :] = [f"{source}: the same is true of {rest} more residues."]
    return notes

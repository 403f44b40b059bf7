"""Selects the atoms of a file that become beads, by MDTraj's selection language, and checks them.

Only selected atoms are checked, and the message names a faulty one. Faults of other atoms (a virtual site of water,
alternate locations of a side chain) do not matter.
"""

from collections.abc import Sequence
from typing import Any

from tpsctl.endpoints.contents import FileAtom
from tpsctl.endpoints.reading import RawStructure
from tpsctl.errors import EndpointError
from tpsctl.molecule.elements import COARSE

_EXAMPLES = '"all", "name CA", "protein", "protein and not element H" or "resSeq 5 to 20"'
_SHOWN = 80
"""Largest number of characters of a selection that a message repeats."""


def selected(raw: RawStructure, select: str, source: str) -> list[int]:
    """Find the indices of the selected atoms, in file order.

    Raises:
        EndpointError: The selection cannot be read or selects nothing, or a selected atom cannot be used.
    """
    beads = list(range(len(raw.atoms))) if select.strip() == "all" else _by_language(raw, select)
    if not beads:
        names = sorted({atom.name for atom in raw.atoms})
        raise EndpointError(
            f'endpoints.select: "{_shown(select)}" selects none of the {len(raw.atoms)} atoms of {source} '
            f"(atom names there: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}). Select at least one."
        )
    _refuse_alternates(raw, beads, source)
    _refuse_unknown_elements(raw, beads, source)
    _refuse_missing_residues(raw, beads, source)
    return beads


def _by_language(raw: RawStructure, select: str) -> list[int]:
    try:
        return [int(i) for i in selection_topology(raw).select(select)]
    except Exception as error:  # MDTraj's selection parser may raise any exception, with pages of grammar in its text
        raise EndpointError(
            f'endpoints.select: cannot read "{_shown(select)}" as an MDTraj selection. Write for example {_EXAMPLES}.'
        ) from error


def selection_topology(raw: RawStructure) -> Any:
    """Convert the atoms to an MDTraj topology, for its selection language.

    Names are as in the file, and every part of a chain becomes a chain.
    """
    import mdtraj

    made = mdtraj.Topology()
    chain, part = None, None
    for residue in raw.residues:
        first = raw.atoms[residue[0]]
        if chain is None or first.part != part:
            chain, part = made.add_chain(first.chain_id), first.part
        home = made.add_residue(first.residue_name, chain, first.residue_id, first.segment)
        for i in residue:
            symbol = raw.elements[i]
            element = mdtraj.element.get_by_symbol(symbol) if symbol else mdtraj.element.virtual
            made.add_atom(raw.atoms[i].name, element, home)
    return made


def _shown(select: str) -> str:
    text = " ".join(select.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refuse_alternates(raw: RawStructure, beads: Sequence[int], source: str) -> None:
    """Raise if a chosen atom has more than one alternate location, also under another residue name."""
    found: dict[tuple[object, ...], list[FileAtom]] = {}
    for i in beads:
        atom = raw.atoms[i]
        key = (atom.part, atom.segment, atom.residue_id, atom.insertion_code, atom.name)
        found.setdefault(key, []).append(atom)
    several = [atoms for atoms in found.values() if len({atom.alternate for atom in atoms}) > 1]
    several += _named_differently(raw, beads) if not several else []
    heterogeneous = [places for places in _residue_names(raw, beads).values() if len(places) > 1]
    if heterogeneous:
        names = " and ".join(f"{name} at {location}" for name, location in sorted(heterogeneous[0].items()))
        place = next(a for a in (raw.atoms[i] for i in beads) if a.residue_name in heterogeneous[0] and a.alternate)
        raise EndpointError(
            f"{source}: {len(heterogeneous)} residues are given as alternates of each other (first: residue "
            f"{place.residue_id}{place.insertion_code}: {names}), expected one residue per place. "
            "Keep one of them (tpsctl prepare IN OUT)."
        )
    if several:
        first = several[0]
        places = sorted({atom.alternate or "blank" for atom in first})
        raise EndpointError(
            f"{source}: {len(several)} atoms have alternate locations (first: {first[0].label} at "
            f"{' and '.join(places)}), expected one position per atom. "
            "Keep one location (tpsctl prepare IN OUT), or leave these atoms out with endpoints.select."
        )


def _residue_names(raw: RawStructure, beads: Sequence[int]) -> dict[tuple[object, ...], dict[str, str]]:
    """For every residue number, the residue names with alternate locations there, and one location of each."""
    names: dict[tuple[object, ...], dict[str, str]] = {}
    for i in beads:
        atom = raw.atoms[i]
        if atom.alternate:
            place = (atom.part, atom.segment, atom.residue_id, atom.insertion_code)
            names.setdefault(place, {}).setdefault(atom.residue_name, atom.alternate)
    return names


def _named_differently(raw: RawStructure, beads: Sequence[int]) -> list[list[FileAtom]]:
    """Chosen atoms of one residue at different alternate locations with different names, such as HA and DA."""
    places: dict[tuple[object, ...], dict[str, FileAtom]] = {}
    for i in beads:
        atom = raw.atoms[i]
        if atom.alternate:
            place = (atom.part, atom.segment, atom.residue_id, atom.insertion_code)
            places.setdefault(place, {}).setdefault(atom.alternate, atom)
    return [list(found.values()) for found in places.values() if len(found) > 1]


def _refuse_unknown_elements(raw: RawStructure, beads: Sequence[int], source: str) -> None:
    unknown = [i for i in beads if not raw.elements[i]]
    if unknown:
        atom, doubt = raw.atoms[unknown[0]], raw.doubts[unknown[0]]
        more = f" ({len(unknown)} such atoms)" if len(unknown) > 1 else ""
        if doubt.startswith(COARSE):
            raise EndpointError(
                f"{source}: {atom.label} {doubt}, so it has no element and no mass{more}. tpsctl reads atoms, or one "
                "bead per residue that is called CA: give such a file, or leave other beads out with endpoints.select."
            )
        raise EndpointError(
            f"{source}: atom {atom.label} {doubt}, hence no mass{more}. "
            "Fill or mend the element column (PDB: columns 77 to 78; GRO has none, so give PDB or mmCIF), or leave "
            "such sites out with endpoints.select."
        )


def _refuse_missing_residues(raw: RawStructure, beads: Sequence[int], source: str) -> None:
    """Raise if residues are missing in the backbone of the chosen atoms."""
    chosen = {raw.atoms[i][:6] for i in beads}
    gaps = [gap for gap in raw.gaps if gap.missing and gap.before[:6] in chosen and gap.after[:6] in chosen]
    if gaps:
        shown = "; ".join(gap.text for gap in gaps[:3]) + ("; ..." if len(gaps) > 3 else "")
        raise EndpointError(
            f"{source}: {shown}. A path of a molecule with a hole in its chain means nothing: model the missing "
            'residues (tpsctl prepare IN OUT --fill-gaps), or select C-alpha beads (endpoints.select: "name CA").'
        )

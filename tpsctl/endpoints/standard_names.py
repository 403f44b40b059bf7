"""Bonds that follow from the names of residues and atoms, from MDTraj's tables of standard residues.

MDTraj knows the bonds of amino acids, caps, nucleotides and water by their standard names, and tables of other
conventions (HN, 1HB, HSD, HIE ...). Names are translated only to look up bonds; the atoms keep their names. Deuterium
(DB2) is bonded like hydrogen (HB2).
"""

from collections.abc import Sequence

from tpsctl.endpoints.contents import Bond, FileAtom
from tpsctl.molecule.elements import hydrogen_name, is_water


def standard_bonds(atoms: Sequence[FileAtom], residues: Sequence[range]) -> tuple[set[Bond], set[Bond]]:
    """Bonds inside residues, and proposed bonds between consecutive residues of one part of a chain.

    The latter are only proposals, because names do not tell whether consecutive residues of a file are bonded.
    """
    import mdtraj

    known = mdtraj.Topology()
    home: list[int] = []
    chain, part = None, None
    for ordinal, residue in enumerate(residues):
        first = atoms[residue[0]]
        if chain is None or first.part != part:
            chain, part = known.add_chain(), first.part
        name, translation = _translation(first.residue_name)
        made = known.add_residue(name, chain)
        given = {atoms[i].name for i in residue}
        for i in residue:
            as_hydrogen = hydrogen_name(first.residue_name, atoms[i].name)
            standard = translation.get(as_hydrogen, as_hydrogen)
            taken = standard != atoms[i].name and standard in given
            known.add_atom(atoms[i].name if taken else standard, mdtraj.element.virtual, made)
            home.append(ordinal)
    known.create_standard_bonds()
    pairs = {(min(a.index, b.index), max(a.index, b.index)) for a, b in known.bonds}
    inside = {(i, j) for i, j in pairs if home[i] == home[j]}
    return inside, pairs - inside


def _translation(residue_name: str) -> tuple[str, dict[str, str]]:
    """The standard name of a residue, and the standard names of its atoms by their names in other conventions."""
    from mdtraj.formats import PDBTrajectoryFile

    PDBTrajectoryFile._loadNameReplacementTables()
    capitals = "HOH" if is_water(residue_name) else residue_name.upper()
    name = PDBTrajectoryFile._residueNameReplacements.get(capitals, capitals)
    return name, PDBTrajectoryFile._atomNameReplacements.get(name, {})

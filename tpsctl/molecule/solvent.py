"""Explicit solvent: water molecules and ions among the atoms, by the names of their residues."""

from tpsctl.molecule.topology import Topology

WATER = frozenset({"HOH", "H2O", "WAT", "SOL", "TIP", "TIP3", "TIP4", "TP3", "TP4", "T3P", "T4P", "SPC", "SPCE", "DOD"})
"""Residue names of water."""

IONS = frozenset({
    "NA", "NA+", "SOD", "K", "K+", "POT", "CL", "CL-", "CLA", "LI", "LI+", "LIT", "CS", "CS+", "CES", "RB", "RB+",
    "BR", "BR-", "MG", "MG2+", "CA", "CA2+", "CAL", "ZN", "ZN2+",
})  # fmt: skip
"""Residue names of single ions."""


def solvent_of(topology: Topology) -> tuple[str, ...]:
    """Residue names of water and of ions that no bond holds, in alphabetical order."""
    free = {atom.residue_name for atom, bonded in zip(topology.atoms, topology.neighbors, strict=True) if not bonded}
    names = {atom.residue_name.strip().upper() for atom in topology.atoms}
    return tuple(sorted((names & WATER) | ({name.strip().upper() for name in free} & IONS)))

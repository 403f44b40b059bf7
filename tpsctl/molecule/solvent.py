"""Explicit solvent: water molecules and ions among the atoms, by the names of their residues."""

from tpsctl.molecule.elements import is_water
from tpsctl.molecule.topology import Topology

IONS = frozenset({
    "NA", "NA+", "SOD", "K", "K+", "POT", "CL", "CL-", "CLA", "LI", "LI+", "LIT", "CS", "CS+", "CES", "RB", "RB+",
    "BR", "BR-", "MG", "MG2+", "CA", "CA2+", "CAL", "ZN", "ZN2+",
})  # fmt: skip
"""Residue names of single ions."""


def solvent_of(topology: Topology) -> tuple[str, ...]:
    """Residue names of water and of ions that no bond holds, in alphabetical order."""
    free = {atom.residue_name for atom, bonded in zip(topology.atoms, topology.neighbors, strict=True) if not bonded}
    names = {atom.residue_name.strip().upper() for atom in topology.atoms}
    water = {name for name in names if is_water(name)}
    return tuple(sorted(water | ({name.strip().upper() for name in free} & IONS)))

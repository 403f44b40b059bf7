"""Finds atoms by the labels that a user writes, and backbone dihedrals by their names."""

from collections.abc import Sequence

from tpsctl.errors import TpsctlError
from tpsctl.molecule.topology import Topology

_SHOWN = 12


def find_atoms(topology: Topology, labels: Sequence[str], *, where: str) -> tuple[int, ...]:
    """Indices of atoms named like "ALA2:N", or "A:ALA2:N" where several chains have one of the name.

    Raises:
        TpsctlError: There is no such atom, or there are several; `where` begins the message.
    """
    return tuple(_find(topology, label, where) for label in labels)


def find_dihedral(topology: Topology, named: str | Sequence[str], *, where: str) -> tuple[int, int, int, int]:
    """Atoms of a dihedral that is given by name, such as "phi ALA2", or by four labels.

    Raises:
        TpsctlError: There is no such dihedral or atom; `where` begins the message.
    """
    if not isinstance(named, str):
        i, j, k, m = find_atoms(topology, named, where=where)
        return i, j, k, m
    known = dict(topology.backbone_dihedrals)
    if named not in known:
        raise TpsctlError(
            f'{where}: no dihedral "{named}" in this molecule. It has: {", ".join(known) or "none by name"}. '
            "Any other can be given by four atoms."
        )
    return known[named]


def _find(topology: Topology, label: str, where: str) -> int:
    found = [i for i, atom in enumerate(topology.atoms) if label in (atom.label, f"{atom.residue}:{atom.name}")]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(topology.atoms[i].label for i in found)
        raise TpsctlError(f'{where}: "{label}" names {len(found)} atoms: {both}. Write the chain, too.')
    residue = label.rpartition(":")[0]
    near = [atom.label for atom in topology.atoms if residue and atom.residue == residue.rpartition(":")[2]]
    shown = near or [atom.label for atom in topology.atoms]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    raise TpsctlError(f'{where}: no atom "{label}" in this molecule. It has {", ".join(shown[:_SHOWN])}{more}.')

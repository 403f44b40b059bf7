"""The two ends of a path: the end is matched with the start, put into the start's atom order, and superposed on it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.match import AtomMap, EquivalentAtoms, match
from tpsctl.endpoints.structure import Structure
from tpsctl.errors import EndpointError
from tpsctl.molecule.geometry import rmsd, superpose
from tpsctl.molecule.topology import Topology

SAME_STRUCTURE_NM = 1e-4
"""Two ends with an RMSD below this (the precision of a PDB file) count as the same structure."""


@dataclass(frozen=True)
class Ends:
    """The two ends of a path, ready for use.

    Attributes:
        topology: Beads and bonds in the start's order, with the start's names.
        x: Positions (2, bead, 3) of start and superposed end, nm, float64.
        atom_map: The map of the end's atoms onto the start's.
        rmsd_nm: Least RMSD between the ends, with the weights of the superposition, nm.
        notes: Notes for the user, one sentence each.
    """

    topology: Topology
    x: Float[Tensor, "2 bead 3"]
    atom_map: AtomMap
    rmsd_nm: float
    notes: tuple[str, ...]


def align(
    start: Structure, end: Structure, *, mass_weighted: bool = True, equivalent_atoms: EquivalentAtoms = "relabel"
) -> Ends:
    """Match the end's atoms with the start's, and superpose the end on the start.

    Args:
        start: The first structure; its position and order of atoms are kept.
        end: The second structure.
        mass_weighted: Superpose with masses as weights, which gives the least kinetic action when the
            diffusion coefficients are kT/(m gamma); uniform weights otherwise.
        equivalent_atoms: As in `match`.

    Raises:
        EndpointError: As `match`; also if both are the same structure.
    """
    atom_map = match(start, end, equivalent_atoms=equivalent_atoms)
    weights = torch.tensor(start.topology.masses_amu, dtype=start.x.dtype) if mass_weighted else None
    moved = superpose(end.x[list(atom_map.order)], start.x, weights)
    distance = float(rmsd(moved, start.x, weights))
    if distance < SAME_STRUCTURE_NM:
        raise EndpointError(_same_structure(start, end, atom_map, distance))
    notes = tuple(dict.fromkeys((*start.notes, *end.notes, *atom_map.notes)))
    return Ends(start.topology, torch.stack([start.x, moved]), atom_map, distance, notes)


def _same_structure(start: Structure, end: Structure, atom_map: AtomMap, distance_nm: float) -> str:
    """Message about two equal ends; it says so if they are equal only after atoms were relabeled."""
    text = (
        f"endpoints {start.source} and {end.source} are the same structure (RMSD {distance_nm:.1e} nm, expected at "
        f"least {SAME_STRUCTURE_NM} nm)"
    )
    if atom_map.rmsd_by_label_nm < SAME_STRUCTURE_NM:
        return f"{text}. Give two different ones."
    return (
        f"{text} once {len(atom_map.renamed)} equivalent atoms are relabeled; with the labels as given they are "
        f"{atom_map.rmsd_by_label_nm:.4f} nm apart. If the exchange of these atoms is the transition (the flip of a "
        "ring, the turn of a methyl group), set endpoints.equivalent_atoms: keep; else give two different structures."
    )

"""One structure in memory: its beads, bonds and positions, with what the user should know about it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import EndpointError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.topology import Topology

LONGEST_BOND_NM = 0.35
"""A covalent bond between atoms is never longer (I-I: 0.27 nm); a longer one means a molecule cut by a box."""

LONGEST_BEAD_BOND_NM = 0.6
"""The same for consecutive C-alpha beads (0.38 nm)."""


@dataclass(frozen=True)
class Structure:
    """A molecule with positions.

    Attributes:
        topology: Beads and bonds, in file order.
        x: Positions (bead, 3), nm, float64.
        source: Where it came from, for messages, e.g. "c7eq.pdb" or "md.xtc frame 12".
        notes: Things worth telling the user, e.g. residues without known bonds.
    """

    topology: Topology
    x: Float[Tensor, "bead 3"]
    source: str
    notes: tuple[str, ...] = ()


def require_sound(structure: Structure) -> Structure:
    """The structure itself, if its positions are finite, apart, and no bond is absurdly long.

    Raises:
        EndpointError: A coordinate is NaN or infinite, two atoms coincide, or a bond spans a periodic box.
    """
    atoms, x, source = structure.topology.atoms, structure.x, structure.source
    bad = (~torch.isfinite(x).all(-1)).nonzero().flatten().tolist()
    if bad:
        raise EndpointError(
            f"{source}: {len(bad)} of {len(atoms)} atoms have no finite position (first: {atoms[bad[0]].label} at "
            f"{tuple(round(v, 4) for v in x[bad[0]].tolist())} nm). Mend or re-export the file."
        )
    beads = kind_of_beads(structure.topology)
    longest = LONGEST_BEAD_BOND_NM if beads is BeadKind.ALPHA_CARBONS else LONGEST_BOND_NM
    for i, j in structure.topology.bonds:
        length = float((x[i] - x[j]).norm())
        if length > longest:
            raise EndpointError(
                f"{source}: bond {atoms[i].label} - {atoms[j].label} is {length:.3f} nm long, expected at most "
                f"{longest} nm. The molecule is cut by a periodic box or has a wrong bond: make it whole "
                "(e.g. `gmx trjconv -pbc whole`) or mend the CONECT records."
            )
        if length < 1e-3:
            raise EndpointError(
                f"{source}: atoms {atoms[i].label} and {atoms[j].label} are at the same place ({length:.4f} nm apart). "
                "Mend the file, e.g. by rebuilding one of them."
            )
    return structure


def ordinals(values: Sequence[Hashable]) -> list[int]:
    """Number of the run of equal values every item belongs to."""
    numbers: list[int] = []
    for i, value in enumerate(values):
        numbers.append(0 if i == 0 else numbers[-1] + (value != values[i - 1]))
    return numbers


def residue_ordinals(topology: Topology) -> list[int]:
    return ordinals([(a.chain_id, a.residue_id, a.residue_name) for a in topology.atoms])

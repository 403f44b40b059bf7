"""The sequence behind C-alpha beads: standard names of residues, and unbroken chains."""

from itertools import pairwise

from tpsctl.errors import ValidationError
from tpsctl.molecule.reconstruction.base import AMINO_ACIDS
from tpsctl.molecule.topology import Topology

STANDARD = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS", "CYX": "CYS", "CYM": "CYS",
    "ASH": "ASP", "GLH": "GLU", "LYN": "LYS",
}  # fmt: skip
"""Names of protonation states, which are decided anew when hydrogens are added."""

SHORTEST_CHAIN = 3
"""Fewest residues of a chain that back-ends can work on."""


def standard_residues(beads: Topology) -> list[str]:
    """The residue of every bead by its standard name.

    Raises:
        ValidationError: A residue is no standard amino acid.
    """
    names = [STANDARD.get(atom.residue_name.upper(), atom.residue_name.upper()) for atom in beads.atoms]
    for atom, name in zip(beads.atoms, names, strict=True):
        if name not in AMINO_ACIDS:
            raise ValidationError(
                f"bead {atom.label}: got residue {atom.residue_name}, expected one of the 20 amino acids. "
                "Rename a modified residue to its parent."
            )
    return names


def unbroken_chains(beads: Topology) -> list[range]:
    """The beads of each chain.

    Raises:
        ValidationError: Two neighbors in a chain are not bonded, or a chain is too short.
    """
    edges = [0]
    for k, (a, b) in enumerate(pairwise(beads.atoms), start=1):
        if a.chain_id != b.chain_id:
            edges.append(k)
        elif (k - 1, k) not in beads.bonds:
            raise ValidationError(
                f"beads {a.label} and {b.label} are not bonded, so residues are missing between them. "
                "Give the two parts different chain identifiers."
            )
    chains = [range(a, b) for a, b in pairwise([*edges, beads.n_atoms])]
    for chain in chains:
        if len(chain) < SHORTEST_CHAIN:
            raise ValidationError(
                f"the chain of bead {beads.atoms[chain.start].label} has {len(chain)} residues, "
                f"expected at least {SHORTEST_CHAIN}: the beads of a shorter chain do not determine its backbone."
            )
    return chains

"""What kind of beads a molecule is made of: all atoms, heavy atoms, C-alpha atoms, or beads that are no atoms.

The answer decides which bonds and bond lengths make sense, whether a handedness can be checked, and how a
message explains that a prior or a force field does not fit.
"""

from enum import StrEnum

from tpsctl.molecule.topology import Topology


class BeadKind(StrEnum):
    """The four kinds; the value is how a message calls the beads."""

    ALL_ATOMS = "all atoms"
    HEAVY_ATOMS = "heavy atoms only"
    ALPHA_CARBONS = "C-alpha atoms only"
    COARSE_GRAINED = "coarse-grained beads"


def kind_of_beads(topology: Topology) -> BeadKind:
    """The kind of a molecule's beads, by their elements and names.

    A bead without an element makes the molecule coarse-grained. Carbon atoms that are all called CA are the C-alpha
    atoms of a chain. Of what is left, a molecule without any hydrogen counts as heavy atoms only.
    """
    if any(not atom.element for atom in topology.atoms):
        return BeadKind.COARSE_GRAINED
    if all(atom.name == "CA" and atom.element == "C" for atom in topology.atoms):
        return BeadKind.ALPHA_CARBONS
    if all(atom.element != "H" for atom in topology.atoms):
        return BeadKind.HEAVY_ATOMS
    return BeadKind.ALL_ATOMS

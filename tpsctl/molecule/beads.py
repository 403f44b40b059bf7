"""What kind of beads a molecule is made of: all atoms, heavy atoms, C-alpha atoms, or beads that are no atoms.

The answer decides which bonds and bond lengths make sense, whether a handedness can be checked, and how a
message explains that a prior or a force field does not fit.
"""

from enum import StrEnum

from tpsctl.molecule.topology import Topology


class BeadKind(StrEnum):
    """The four kinds of beads; the value is the name that messages use."""

    ALL_ATOMS = "all atoms"
    HEAVY_ATOMS = "heavy atoms only"
    ALPHA_CARBONS = "C-alpha atoms only"
    COARSE_GRAINED = "coarse-grained beads"


def kind_of_beads(topology: Topology) -> BeadKind:
    """Find the kind of a molecule's beads from their elements and names.

    A bead without an element makes the molecule coarse-grained. Carbon atoms that are all called CA are the C-alpha
    atoms of a chain. Any other molecule counts as heavy atoms only if it has no hydrogen, and as all atoms if it has.
    """
    if any(not atom.element for atom in topology.atoms):
        return BeadKind.COARSE_GRAINED
    if all(atom.name == "CA" and atom.element == "C" for atom in topology.atoms):
        return BeadKind.ALPHA_CARBONS
    if all(atom.element != "H" for atom in topology.atoms):
        return BeadKind.HEAVY_ATOMS
    return BeadKind.ALL_ATOMS

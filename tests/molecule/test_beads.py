"""One answer to "what kind of beads are these"."""

import pytest

from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.topology import Atom, Topology


def molecule(*names_and_elements: tuple[str, str]) -> Topology:
    return Topology(tuple(Atom(name, element, "XXX", 1, "", 12.0) for name, element in names_and_elements), ())


@pytest.mark.parametrize(
    ("beads", "kind"),
    [
        ([("CA", "C"), ("HA", "H")], BeadKind.ALL_ATOMS),
        ([("CA", "C"), ("N", "N")], BeadKind.HEAVY_ATOMS),
        ([("CA", "C"), ("CA", "C")], BeadKind.ALPHA_CARBONS),
        ([("CA", "Ca"), ("CA", "Ca")], BeadKind.HEAVY_ATOMS),  # calcium ions are no C-alpha atoms
        ([("CA", "C"), ("B1", "")], BeadKind.COARSE_GRAINED),
        ([("CA", ""), ("CA", "")], BeadKind.COARSE_GRAINED),
    ],
)
def test_kind_of_beads(beads, kind):
    assert kind_of_beads(molecule(*beads)) is kind


def test_capped_alanine_has_all_atoms(alanine):
    topology = alanine[0]
    assert kind_of_beads(topology) is BeadKind.ALL_ATOMS
    heavy = topology.select([i for i, atom in enumerate(topology.atoms) if atom.element != "H"])
    assert kind_of_beads(heavy) is BeadKind.HEAVY_ATOMS

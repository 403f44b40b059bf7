"""Slots and types of the heavy atoms of a tetrapeptide in the published all-atom networks.

Every residue has 14 slots for heavy atoms in a fixed order (backbone N CA C O, then the side chain), so a tetrapeptide
has 56. The network identifies a bead by its slot and its atomic number. Slots that a residue does not fill are padding
beads (type 0) in the published code; tpsctl leaves them out.

Source: the atom14 convention of Jumper et al., Nature 596 (2021) 583, suppl. 1.2.
"""

import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.graph_transformer.network import Beads

PLACES = 14
RESIDUES = 4
SLOTS = PLACES * RESIDUES

_NUMBERS = {"C": 6, "N": 7, "O": 8, "S": 16}
_BACKBONE = ("N", "CA", "C", "O")
_SIDE_CHAINS = {
    "ALA": "CB",
    "ARG": "CB CG CD NE CZ NH1 NH2",
    "ASN": "CB CG OD1 ND2",
    "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG",
    "GLN": "CB CG CD OE1 NE2",
    "GLU": "CB CG CD OE1 OE2",
    "GLY": "",
    "HIS": "CB CG ND1 CD2 CE1 NE2",
    "ILE": "CB CG1 CG2 CD1",
    "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ",
    "MET": "CB CG SD CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CB CG CD",
    "SER": "CB OG",
    "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}
_PROTONATED = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS", "CYX": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS"}
SELECTION = "protein and element != H and name != OXT"


def tetrapeptide_beads(topology: Topology | None) -> Beads:
    """Slots and types of a tetrapeptide's heavy atoms, in the order of the topology.

    Without a topology the beads are those of tetraalanine, so that a checkpoint can be tested without a molecule.

    Raises:
        PriorError: The molecule does not consist of all heavy atoms (without OXT) of four known residues.
    """
    if topology is None:
        names = [(k, name) for k in range(RESIDUES) for name in (*_BACKBONE, "CB")]
        return _beads([k * PLACES + place_names("ALA").index(name) for k, name in names], [n[0] for _, n in names])
    slots, elements = [], []
    residues: list[tuple[str, int]] = []
    for atom in topology.atoms:
        residue = (atom.chain_id, atom.residue_id)
        if not residues or residues[-1] != residue:
            residues.append(residue)
        order = place_names(atom.residue_name)
        if atom.name not in order or atom.element not in _NUMBERS or len(residues) > RESIDUES:
            raise PriorError(
                f"this network is for the heavy atoms of tetrapeptides (no OXT); the ends have {atom.label}. "
                f'Set endpoints.select to "{SELECTION}".'
            )
        slots.append((len(residues) - 1) * PLACES + order.index(atom.name))
        elements.append(atom.element)
    complete = sum(len(place_names(name)) for name in _residue_names(topology))
    if len(residues) != RESIDUES or len(set(slots)) != len(slots) or len(slots) != complete:
        raise PriorError(
            f"this network is for the {complete} heavy atoms of {RESIDUES} residues; the ends have {len(slots)} atoms "
            f"in {len(residues)} residues. Choose another selection, or complete the structures."
        )
    return _beads(slots, elements)


def place_names(residue: str) -> tuple[str, ...]:
    """Atom names of a residue in the order of its slots; empty for an unknown residue."""
    name = _PROTONATED.get(residue.upper(), residue.upper())
    return (*_BACKBONE, *_SIDE_CHAINS[name].split()) if name in _SIDE_CHAINS else ()


def _residue_names(topology: Topology) -> list[str]:
    names = {(atom.chain_id, atom.residue_id): atom.residue_name for atom in topology.atoms}
    return list(names.values())


def _beads(slots: list[int], elements: list[str]) -> Beads:
    return Beads(torch.tensor(slots), torch.tensor([_NUMBERS[element] for element in elements]))

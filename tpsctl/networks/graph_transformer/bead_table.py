"""Which embedding of a graph transformer belongs to a bead, for one network that serves several molecules.

The type of a bead is the name of its residue with its own name, e.g. "ALA:CA". Beads of one type have one embedding in
all molecules. Beads of a chain that have the same type are told apart by their slot, their number in the molecule.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.graph_transformer.network import Beads


@dataclass(frozen=True)
class BeadTable:
    """The types of beads that a network knows, and the length of its longest molecule.

    Attributes:
        types: Types in the order of their embeddings.
        slots: Largest number of beads of a molecule.
    """

    types: tuple[str, ...]
    slots: int

    @classmethod
    def of(cls, molecules: Iterable[Topology]) -> "BeadTable":
        """The table of these molecules."""
        known = list(molecules)
        types = sorted({bead_type(atom) for topology in known for atom in topology.atoms})
        return cls(tuple(types), max(topology.n_atoms for topology in known))

    def unknown(self, topology: Topology) -> list[str]:
        """The types of a molecule's beads that are not in the table, each once."""
        return sorted({bead_type(atom) for atom in topology.atoms} - set(self.types))

    def beads(self, topology: Topology) -> Beads:
        """The beads of a molecule.

        Raises:
            PriorError: It has a bead of an unknown type, or more beads than there are slots.
        """
        unknown = self.unknown(topology)
        if unknown or topology.n_atoms > self.slots:
            raise PriorError(
                f"a molecule of {topology.n_atoms} beads does not fit a network of {self.slots} slots and the bead "
                f"types {', '.join(self.types)}" + (f"; it lacks {', '.join(unknown)}." if unknown else ".")
            )
        number = {name: index for index, name in enumerate(self.types)}
        types = torch.tensor([number[bead_type(atom)] for atom in topology.atoms])
        return Beads(torch.arange(topology.n_atoms), types)


def bead_type(atom: Atom) -> str:
    """The type of a bead: the names of its residue and of itself."""
    return f"{atom.residue_name}:{atom.name}"

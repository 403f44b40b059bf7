"""Energies of several molecules with one graph transformer: shared weights, and tables of each molecule.

    U_m(y; sigma) = U_pairs,m(r(y); sigma) - E( c_m y ; level(sigma), beads of m ) / (sigma c_m) ,

as in `transformer`. The transformer E is the same for all molecules; it knows a bead by the embedding of its type and
by its slot (`BeadTable`). What is fitted in closed form belongs to one molecule: its pair energies, and the scale in
c_m = 1 / sqrt(scale_m^2 + sigma^2), so that the transformer sees positions of about unit variance for all of them.

A batch of several molecules is padded to the longest one. Padding beads are hidden from all others and have no energy,
so that the energy of a molecule is the one that it has alone, to rounding.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tpsctl.molecule.geometry import center
from tpsctl.molecule.topology import Topology
from tpsctl.networks.chain_energy.transformer import BeadTransformerEnergy, TransformerEnergySizes, new_transformer
from tpsctl.networks.graph_transformer.bead_table import BeadTable
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer


class MoleculeEnergy(BeadTransformerEnergy):
    """The energy of one of several molecules.

    Args:
        topology: Its beads with bonds.
        sizes: Shapes.
        beads: Its beads as the transformer knows them.
        transformer: The transformer of all molecules, which stays no part of this module.
    """

    def __init__(
        self, topology: Topology, sizes: TransformerEnergySizes, beads: Beads, transformer: GraphTransformer
    ) -> None:
        super().__init__(topology, sizes)
        self._beads, self._shared = beads, (transformer,)  # a tuple hides it from the module's parameters

    @property
    def trained(self) -> GraphTransformer:
        return self._shared[0]

    @property
    def beads(self) -> Beads:
        return self._beads


class SharedEnergy(nn.Module):
    """The energies of several molecules with one transformer.

    Args:
        molecules: The molecules.
        table: Types of their beads.
        sizes: Shapes.
    """

    def __init__(self, molecules: Sequence[Topology], table: BeadTable, sizes: TransformerEnergySizes) -> None:
        super().__init__()
        self.table = table
        self.transformer = new_transformer(sizes.of_network(table.slots, len(table.types)))
        self.molecules = nn.ModuleList(
            MoleculeEnergy(topology, sizes, table.beads(topology), self.transformer) for topology in molecules
        )

    @property
    def members(self) -> list[MoleculeEnergy]:
        """The energies of the molecules, in order."""
        return [member for member in self.molecules if isinstance(member, MoleculeEnergy)]

    def forward(
        self, y: Sequence[Float[Tensor, "_batch _bead 3"]], sigma: Sequence[Float[Tensor, " _batch"]]
    ) -> list[Float[Tensor, " _batch"]]:
        """The transformer's parts of the energies of all molecules, kT, from one padded batch.

        Args:
            y: Noised structures of every molecule, nm.
            sigma: Their noise widths, nm.
        """
        members = self.members
        c = [member.contraction(widths) for member, widths in zip(members, sigma, strict=True)]
        most = max(x.shape[1] for x in y)
        x = torch.cat([_padded(center(a) * b.reshape(-1, 1, 1), most) for a, b in zip(y, c, strict=True)])
        levels = torch.cat([member.level(widths) for member, widths in zip(members, sigma, strict=True)])
        counts = [len(a) for a in y]
        beads = padded_beads([member.beads for member in members], counts, most).to(x.device)
        assert beads.real is not None
        energies = self.transformer(x, levels, beads).squeeze(-1)
        total = energies.masked_fill(~beads.real, 0.0).sum(1).split(counts)
        return [-e / (widths * b) for e, widths, b in zip(total, sigma, c, strict=True)]


def padded_beads(beads: Sequence[Beads], counts: Sequence[int], most: int) -> Beads:
    """The beads of a padded batch, row by row.

    Args:
        beads: Beads of every molecule, with types.
        counts: Number of rows of every molecule, one after the other.
        most: Number of beads of a row.
    """
    rows = []
    for one, count in zip(beads, counts, strict=True):
        assert one.types is not None
        real = torch.ones_like(one.slots, dtype=torch.bool)
        parts = (functional.pad(part, (0, most - len(part))) for part in (one.slots, one.types, real))
        rows.append([part.expand(count, -1) for part in parts])
    slots, types, real = (torch.cat(part) for part in zip(*rows, strict=True))
    return Beads(slots, types, real)


def _padded(x: Float[Tensor, "batch bead 3"], most: int) -> Float[Tensor, "batch most 3"]:
    return functional.pad(x, (0, 0, 0, most - x.shape[1]))

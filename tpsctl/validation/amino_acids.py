"""Absolute checks of proteins that no end vouches for: L-amino acids, trans peptide bonds, contacts.

The geometry gate compares images with the ends of a path. Reconstructed structures have no ends that a user gave, so
they are also compared with what all proteins share. With u the unit vectors from a center to its neighbors,

    det(u_N, u_C, u_CB) > 0 at CA             L-amino acids (S, or R in cysteine)
    det(u_CA, u_1, u_CG2) > 0 at CB           isoleucine (S; 1 is CG1) and threonine (R; 1 is OG1)

about 0.7 in an undistorted structure. A peptide bond is cis if |omega| is below 90 degrees.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tpsctl.molecule.amino_acids import amino_acid_centers
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.validation.checks import ClashCheck, omegas


@dataclass(frozen=True)
class ProteinFaults:
    """What is wrong with images of a protein, for every image and center or bond.

    Attributes:
        inverted: Whether a center has the wrong handedness.
        cis: Whether a peptide bond is cis.
        clashes: Number of pairs of atoms that are too close.
        centers: Names of the centers.
        bonds: Names of the peptide bonds.
    """

    inverted: Bool[Tensor, "image center"]
    cis: Bool[Tensor, "image bond"]
    clashes: Int[Tensor, " image"]
    centers: tuple[str, ...]
    bonds: tuple[str, ...]

    @property
    def image_passes(self) -> Bool[Tensor, " image"]:
        """Images without any fault."""
        return ~self.inverted.any(1) & ~self.cis.any(1) & (self.clashes == 0)

    @property
    def words(self) -> list[str]:
        """The faults in words, with the first image of each; empty if there are none."""
        found = []
        for flags, names, what in (
            (self.inverted, self.centers, "has the wrong handedness (expected L)"),
            (self.cis, self.bonds, "is cis (expected trans)"),
        ):
            if flags.any():
                image, which = flags.nonzero()[0].tolist()
                found.append(f"image {image}: {names[which]} {what}{_more(int(flags.sum()))}")
        if self.clashes.any():
            image = int((self.clashes > 0).nonzero()[0])
            found.append(f"image {image}: {int(self.clashes[image])} pairs of atoms clash{_more(self._clashing)}")
        return found

    @property
    def _clashing(self) -> int:
        return int((self.clashes > 0).sum())


class ProteinCheck:
    """Finds faults in structures of one protein.

    Args:
        topology: All atoms.
    """

    def __init__(self, topology: Topology) -> None:
        centers = amino_acid_centers(topology)
        self._labels = tuple(topology.atoms[center].label for center, _ in centers)
        self._centers = torch.tensor([[center, *around] for center, around in centers]).reshape(-1, 4)
        bonds = omegas(topology)
        self._bonds = tuple(name for name, _ in bonds)
        self._omegas = torch.tensor([atoms for _, atoms in bonds]).reshape(-1, 4)
        self._clashes = ClashCheck(topology, None)

    def check(self, x: Float[Tensor, "image atom 3"]) -> ProteinFaults:
        """Find the faults of images, nm."""
        center, *around = (x[:, self._centers[:, k]] for k in range(4))
        arms = torch.stack([neighbor - center for neighbor in around], -2)
        omega = dihedral(x, self._omegas)
        return ProteinFaults(
            inverted=~(torch.linalg.det(arms) > 0),
            cis=~(omega.abs() >= torch.pi / 2),
            clashes=self._clashes.count(x),
            centers=self._labels,
            bonds=self._bonds,
        )


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""

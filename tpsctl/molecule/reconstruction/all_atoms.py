"""The all-atom molecule behind C-alpha beads, and its positions from reconstructed heavy atoms.

The molecule is built once, from the heavy atoms of one image: OpenMM's Modeller adds the hydrogens at pH 7 and decides
the protonation of histidines. Every other image has the same atoms. A hydrogen is placed by superposing the heavy atoms
next to it, with which it moves, from the first structure onto the image, so hydrogens never differ by chance. The
hydrogen of a center is placed on the side that makes it an L-center. The second oxygen of a C terminus completes the
plane of its carbon. Chain ends are charged, cysteines are reduced.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.amino_acids import amino_acid_centers
from tpsctl.molecule.force_field import residues
from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.reconstruction.base import HeavyAtoms
from tpsctl.molecule.topology import Atom, Topology

C_H_NM = 0.109
"""Length of a carbon-hydrogen bond, nm."""

PH = 7.0
"""Acidity at which Modeller adds hydrogens."""

FRAME = ("N", "CA", "C", "CB")
"""The atoms of a residue with which its side chain moves."""

C_O_NM = 0.125
"""Length of a carbon-oxygen bond of a carboxylate, nm."""


@dataclass(frozen=True)
class AllAtomMolecule:
    """All atoms of the residues of a chain of beads.

    Attributes:
        topology: Atoms and bonds; residue numbers and chains are those of the beads.
        alpha_carbons: Number of the C-alpha atom of every bead.
        template: The structure from which hydrogens are placed, nm.
    """

    topology: Topology
    alpha_carbons: tuple[int, ...]
    template: Float[Tensor, "atom 3"]

    def place(self, images: Sequence[HeavyAtoms]) -> Float[Tensor, "image atom 3"]:
        """Positions of all atoms, nm, from the heavy atoms of every image.

        Raises:
            ValidationError: An image lacks an atom that the molecule has.
        """
        x = torch.full((len(images), *self.template.shape), torch.nan, dtype=torch.float64)
        for k, heavy in enumerate(images):
            for i, residue in self._heavy_atoms:
                name = self.topology.atoms[i].name
                found = with_terminal_oxygen(heavy[residue]) if name == "OXT" else heavy[residue]
                if name not in found:
                    raise ValidationError(f"image {k}: the back-end gave no {self.topology.atoms[i].label}.")
                x[k, i] = torch.from_numpy(np.asarray(found[name], float))
        for i, around in self._hydrogens:
            x[:, i] = _moved(self.template, x, around, (i,))[:, 0]
        for center, around in amino_acid_centers(self.topology):
            (hydrogen,) = set(self.topology.neighbors[center]) - set(around)
            x[:, hydrogen] = opposite(x[:, center], *(x[:, i] for i in around))
        return x

    def with_side_chains(self, x: Float[Tensor, "atom 3"], other: Float[Tensor, "atom 3"]) -> Float[Tensor, "atom 3"]:
        """A structure with the side chains of another, moved rigidly with N, CA, C and CB of their residues; nm.

        Prolines keep their own ring, because it holds on to the backbone.
        """
        moved = x.clone()
        for members in residues(self.topology):
            names = {self.topology.atoms[i].name: i for i in members}
            if "CB" not in names or self.topology.atoms[members[0]].residue_name == "PRO":
                continue
            frame = tuple(names[name] for name in FRAME)
            side = tuple(sorted(self.topology.branch(names["CB"], without=names["CA"]) - {names["CB"]}))
            moved[list(side)] = _moved(other, x[None], frame, side)[0]
        return moved

    @property
    def _residue_of(self) -> list[int]:
        """Number of the bead to which every atom belongs."""
        numbers, residue, last = [], -1, None
        for atom in self.topology.atoms:
            here = (atom.chain_id, atom.residue_id, atom.insertion_code)
            residue, last = residue + (here != last), here
            numbers.append(residue)
        return numbers

    @property
    def _heavy_atoms(self) -> list[tuple[int, int]]:
        """Heavy atoms with their residues."""
        return [(i, r) for i, r in enumerate(self._residue_of) if self.topology.atoms[i].element != "H"]

    @property
    def _hydrogens(self) -> list[tuple[int, tuple[int, ...]]]:
        """Hydrogens with the heavy atoms with which each of them moves: at least three."""
        found = []
        for i, atom in enumerate(self.topology.atoms):
            if atom.element == "H":
                (parent,) = self.topology.neighbors[i]
                around = [parent, *self._heavy_neighbors(parent)]
                if len(around) < 3:
                    around += [j for j in self._heavy_neighbors(around[1]) if j != parent]
                found.append((i, tuple(around)))
        return found

    def _heavy_neighbors(self, atom: int) -> list[int]:
        return [j for j in self.topology.neighbors[atom] if self.topology.atoms[j].element != "H"]


def opposite(
    center: Float[Tensor, "image 3"],
    a: Float[Tensor, "image 3"],
    b: Float[Tensor, "image 3"],
    c: Float[Tensor, "image 3"],
) -> Float[Tensor, "image 3"]:
    """The place of the hydrogen of a center with these neighbors, nm, on the side where the center is an L-center.

    The side follows from the order of the neighbors, not from where the center lies: a back-end may make it nearly
    planar, and a hydrogen on the wrong side would hold it there.
    """
    to_a, to_b, to_c = (torch.nn.functional.normalize(neighbor - center, dim=-1) for neighbor in (a, b, c))
    normal = torch.linalg.cross(to_b - to_a, to_c - to_a)
    return center - C_H_NM * torch.nn.functional.normalize(normal, dim=-1)


def build_molecule(beads: Topology, names: Sequence[str], heavy: HeavyAtoms, *, seed: int) -> AllAtomMolecule:
    """Build the molecule from the heavy atoms of one image.

    Args:
        beads: The C-alpha beads, which give numbers and chains.
        names: Standard names of the residues.
        heavy: Heavy atoms of one image.
        seed: Seed of the random positions from which Modeller begins to optimize hydrogens.
    """
    from openmm import Platform, Vec3, app, unit

    molecule = app.Topology()
    positions, chain = [], None
    for k, (bead, name, atoms) in enumerate(zip(beads.atoms, names, heavy, strict=True)):
        if k == 0 or bead.chain_id != beads.atoms[k - 1].chain_id:
            chain = molecule.addChain(str(bead.chain_id))
        residue = molecule.addResidue(name, chain, str(k))
        last = k + 1 == len(names) or beads.atoms[k + 1].chain_id != bead.chain_id
        complete = with_terminal_oxygen(atoms) if last else {n: p for n, p in atoms.items() if n != "OXT"}
        for atom, position in complete.items():
            molecule.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
            positions.append(Vec3(*map(float, position)))
    molecule.createStandardBonds()
    modeller = app.Modeller(molecule, positions * unit.nanometer)
    state = random.getstate()
    random.seed(seed)
    try:
        modeller.addHydrogens(pH=PH, platform=Platform.getPlatformByName("Reference"))
    finally:
        random.setstate(state)
    return _converted(modeller, beads)


def with_terminal_oxygen(atoms: Any) -> dict[str, np.ndarray]:
    """The atoms of a residue with OXT, which lies in the plane of C, CA and O and opposite to both; all in nm."""
    arms = [(atoms[name] - atoms["C"]) / np.linalg.norm(atoms[name] - atoms["C"]) for name in ("CA", "O")]
    away = -(arms[0] + arms[1])
    return {**atoms, "OXT": atoms["C"] + C_O_NM * away / np.linalg.norm(away)}


def _converted(modeller: Any, beads: Topology) -> AllAtomMolecule:
    """The molecule of a Modeller whose residues have the numbers of the beads as identifiers."""
    from openmm import unit

    atoms, alpha = [], {}
    for atom in modeller.topology.atoms():
        bead = beads.atoms[int(atom.residue.id)]
        mass = atom.element.mass.value_in_unit(unit.dalton)
        place = (atom.residue.name, bead.residue_id, bead.chain_id, mass, bead.insertion_code)
        atoms.append(Atom(atom.name, atom.element.symbol, *place))
        if atom.name == "CA":
            alpha[int(atom.residue.id)] = atom.index
    bonds = sorted((min(a.index, b.index), max(a.index, b.index)) for a, b in modeller.topology.bonds())
    x = torch.tensor(np.array(modeller.positions.value_in_unit(unit.nanometer)), dtype=torch.float64)
    return AllAtomMolecule(Topology(tuple(atoms), tuple(bonds)), tuple(alpha[k] for k in range(len(alpha))), x)


def _moved(
    x: Float[Tensor, "atom 3"], targets: Float[Tensor, "image atom 3"], frame: tuple[int, ...], atoms: tuple[int, ...]
) -> Float[Tensor, "image _ 3"]:
    """Positions of `atoms` after the rigid motion that superposes the atoms of a frame onto those of every target."""
    weights = torch.tensor([1.0] * len(frame) + [0.0] * len(atoms), dtype=torch.float64)
    mobile = x[[*frame, *atoms]].expand(len(targets), -1, -1)
    onto = torch.cat((targets[:, list(frame)], torch.zeros(len(targets), len(atoms), 3, dtype=torch.float64)), 1)
    return superpose(mobile, onto, weights)[:, len(frame) :]

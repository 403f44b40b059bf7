"""The molecule of a path: its atoms (or beads), its bonds, and quantities that follow from the bonds.

All stages share `Topology` as the only description of the molecule. Files, MDTraj and OpenMM objects
are converted to and from it in the rooms that use them (`endpoints`, `molecule`, `output`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Atom:
    """One atom or coarse-grained bead, as named in the user's file.

    Attributes:
        name: Atom name, e.g. "CA".
        element: Element symbol, e.g. "C"; "" for a bead that is no atom.
        residue_name: Residue name, e.g. "ALA".
        residue_id: Residue number as in the file.
        chain_id: Chain identifier as in the file ("" if none).
        mass_amu: Mass in amu, > 0.
        insertion_code: Letter behind the residue number, as in 100A ("" if none).
    """

    name: str
    element: str
    residue_name: str
    residue_id: int
    chain_id: str
    mass_amu: float
    insertion_code: str = ""

    @property
    def residue(self) -> str:
        """Name and number of the residue, e.g. "ALA2" or "ALA100A"."""
        return f"{self.residue_name}{self.residue_id}{self.insertion_code}"

    @property
    def label(self) -> str:
        """Short name for messages, e.g. "ALA2:CA" or "B:ALA100A:CA"."""
        chain = f"{self.chain_id}:" if self.chain_id.strip() else ""
        return f"{chain}{self.residue}:{self.name}"


@dataclass(frozen=True)
class Topology:
    """Atoms in file order and covalent bonds as sorted index pairs."""

    atoms: tuple[Atom, ...]
    bonds: tuple[tuple[int, int], ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atoms)

    @cached_property
    def masses_amu(self) -> tuple[float, ...]:
        """Masses of all atoms, amu."""
        return tuple(atom.mass_amu for atom in self.atoms)

    @cached_property
    def neighbors(self) -> tuple[tuple[int, ...], ...]:
        """Bonded neighbors of every atom, ascending."""
        found: list[list[int]] = [[] for _ in self.atoms]
        for i, j in self.bonds:
            found[i].append(j)
            found[j].append(i)
        return tuple(tuple(sorted(n)) for n in found)

    @cached_property
    def angles(self) -> tuple[tuple[int, int, int], ...]:
        """All bonded triples i-j-k with i < k."""
        return tuple(
            (i, j, k) for j, around in enumerate(self.neighbors) for a, i in enumerate(around) for k in around[a + 1 :]
        )

    @cached_property
    def torsions(self) -> tuple[tuple[int, int, int, int], ...]:
        """All proper torsions i-j-k-l around bonds j-k with j < k."""
        return tuple(
            (i, j, k, m)
            for j, k in self.bonds
            for i in self.neighbors[j]
            if i != k
            for m in self.neighbors[k]
            if m not in (j, i)
        )

    @cached_property
    def rotatable_bonds(self) -> tuple[tuple[int, int], ...]:
        """Bonds outside rings with further atoms on both sides, bonds to methyl groups included."""
        return tuple(
            (j, k)
            for j, k in self.bonds
            if len(self.neighbors[j]) > 1 and len(self.neighbors[k]) > 1 and j not in self.branch(k, without=j)
        )

    def branch(self, start: int, *, without: int) -> frozenset[int]:
        """Atoms that can be reached from `start`, itself included, when its bond to the atom `without` is cut."""
        seen, todo = {start}, [start]
        while todo:
            here = todo.pop()
            for there in self.neighbors[here]:
                if there not in seen and {here, there} != {start, without}:
                    seen.add(there)
                    todo.append(there)
        return frozenset(seen)

    @cached_property
    def backbone_dihedrals(self) -> tuple[tuple[str, tuple[int, int, int, int]], ...]:
        """Peptide phi, psi and omega as (label, atom indices), e.g. ("phi ALA2", (4, 6, 8, 14)).

        They are found along the bonded backbone (C-N, N-CA, CA-C), caps included. No dihedral crosses a chain break.
        """
        found = []
        for c_prev, n in self._bonds_between("C", "N"):
            ca_prev = self._neighbor(c_prev, ("CA", "CH3"))
            ca = self._neighbor(n, ("CA", "CH3", "C"), not_atom=c_prev)
            if ca_prev is not None and ca is not None:
                found.append((f"omega {self.atoms[n].residue}", (ca_prev, c_prev, n, ca)))
            if ca is None or self.atoms[ca].name != "CA":
                continue
            c = self._neighbor(ca, ("C",))
            if c is not None:
                found.append((f"phi {self.atoms[ca].residue}", (c_prev, n, ca, c)))
                n_next = self._neighbor(c, ("N",))
                if n_next is not None:
                    found.append((f"psi {self.atoms[ca].residue}", (n, ca, c, n_next)))
        return tuple(found)

    def select(self, indices: Iterable[int]) -> "Topology":
        """The sub-molecule of these atoms, in the given order, with the bonds among them."""
        kept = list(indices)
        new = {old: i for i, old in enumerate(kept)}
        bonds = sorted(tuple(sorted((new[i], new[j]))) for i, j in self.bonds if i in new and j in new)
        return Topology(tuple(self.atoms[i] for i in kept), tuple((i, j) for i, j in bonds))

    def _bonds_between(self, first: str, second: str) -> Iterable[tuple[int, int]]:
        for i, j in self.bonds:
            names = (self.atoms[i].name, self.atoms[j].name)
            if names == (first, second):
                yield i, j
            elif names == (second, first):
                yield j, i

    def _neighbor(self, index: int, names: tuple[str, ...], *, not_atom: int = -1) -> int | None:
        for name in names:
            for j in self.neighbors[index]:
                if j != not_atom and self.atoms[j].name == name:
                    return j
        return None

"""The interface of all sources of OpenMM Systems, and the result that they give."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpsctl.molecule.contacts import NativeContacts
from tpsctl.molecule.topology import Topology


@dataclass(frozen=True)
class ImplicitSolvent:
    """A generalized Born model.

    Attributes:
        model: Its name, e.g. "GBn2".
        radii: The set of atomic radii, e.g. "mbondi3", or where they come from.
    """

    model: str
    radii: str

    def __str__(self) -> str:
        return f"{self.model}, {self.radii} radii"


@dataclass(frozen=True)
class MolecularSystem:
    """A molecule's `openmm.System`: isolated, every coordinate free, atoms in the order of the topology.

    Attributes:
        system: The `openmm.System`.
        parts: Names of the files it was made from, without folders, e.g. ("amber14-all.xml", "implicit/gbn2.xml").
        masses_amu: Masses of its particles, amu.
        solvent: The implicit solvent; None in vacuum.
        notes: Notes for the user about the System, one sentence each.
        contacts: Native contacts of a structure-based model; None for any other System.
    """

    system: Any
    parts: tuple[str, ...]
    masses_amu: tuple[float, ...]
    solvent: ImplicitSolvent | None = None
    notes: tuple[str, ...] = ()
    contacts: NativeContacts | None = None

    @property
    def name(self) -> str:
        """Name of the force field in summaries."""
        return " + ".join(self.parts)

    def with_masses(self, topology: Topology) -> Topology:
        """Copy the topology with the masses of the System's particles in place of its own."""
        atoms = zip(topology.atoms, self.masses_amu, strict=True)
        return replace(topology, atoms=tuple(replace(atom, mass_amu=mass) for atom, mass in atoms))


class SystemSource(ABC):
    """One or several files from which OpenMM makes a System.

    Sources are frozen dataclasses, so they can be compared and pickled.
    """

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Names of the files that the recipe gives, without folders, for summaries and the manifest."""

    @property
    def name(self) -> str:
        """Name of the source in messages."""
        return " + ".join(self.parts)

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """Every file that decides the System, included files too, in a fixed order; missing files are left out."""

    @abstractmethod
    def create(self, topology: Topology) -> MolecularSystem:
        """Create the System of a molecule.

        Raises:
            ValidationError: A file is missing or damaged, does not fit the molecule, or describes something that
                tpsctl cannot use for paths (a periodic box, constraints without an energy, virtual sites).
        """


def particle_masses(system: Any) -> tuple[float, ...]:
    """Masses of an `openmm.System`, amu."""
    return tuple(system.getParticleMass(i)._value for i in range(system.getNumParticles()))

"""A System from a native structure: the structure-based Calpha model with a cooperative contact energy.

With bond lengths r, angles theta, torsions phi (subscript 0: in the native structure) the energy is

    U = sum_bonds    k_b/2 (r - b)^2
      + sum_angles   k_a/2 (theta - theta_0)^2
      + sum_torsions [ k_1 (1 - cos(phi - phi_0)) + k_3 (1 - cos 3(phi - phi_0)) ]
      + sum_pairs    epsilon (sigma / r)^12                          pairs at least 3 bonds apart
      - A q - B q^2 / N,      q = sum_contacts exp(-(r - r_0)^2 / (2 w^2))

where contacts are the N pairs at least 4 bonds apart whose native distance is below a cutoff. B couples all contacts:
a contact gains the more the more others are formed, so that the chain folds in two states. At B = 0 it collapses
gradually over one broad basin.

Source: Clementi, Nymeyer, Onuchic, J. Mol. Biol. 298 (2000) 937, for the bonded terms; Lammert, Schug, Onuchic,
Proteins 77 (2009) 881, for Gaussian contacts beside an excluded volume. The collective form of the contact energy is
tpsctl's own.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.contacts import NativeContacts, distant_pairs, find_contacts
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.openmm_system.base import MolecularSystem, SystemSource
from tpsctl.molecule.openmm_system.matching import require_count
from tpsctl.molecule.topology import Topology

EXCLUDED_SEPARATION, CONTACT_SEPARATION = 3, 4
"""Least number of bonds between two beads with an excluded volume, and between two beads in contact."""


@dataclass(frozen=True)
class StructureBasedParameters:
    """The numbers of the model; `contact_kj_per_mol` is A and `cooperative_kj_per_mol` is B."""

    mass_amu: float = 110.0
    bond_length_nm: float = 0.38
    bond_kj_per_mol_nm2: float = 10000.0
    angle_kj_per_mol_rad2: float = 20.0
    torsion_kj_per_mol: float = 0.5
    threefold_torsion_kj_per_mol: float = 0.25
    excluded_volume_nm: float = 0.45
    excluded_volume_kj_per_mol: float = 1.0
    contact_cutoff_nm: float = 0.8
    contact_width_nm: float = 0.05
    contact_kj_per_mol: float = 1.5
    cooperative_kj_per_mol: float = 4.75


@dataclass(frozen=True)
class StructureBasedModel(SystemSource):
    """The structure-based model of one native structure.

    Attributes:
        file: File that the native structure was read from.
        native_topology: Its beads and bonds.
        native_nm: Positions of its beads, nm.
        parameters: The numbers of the model.
    """

    file: Path
    native_topology: Topology
    native_nm: tuple[tuple[float, ...], ...]
    parameters: StructureBasedParameters = StructureBasedParameters()

    @property
    def parts(self) -> tuple[str, ...]:
        values = (f"{field.name}={getattr(self.parameters, field.name):g}" for field in fields(self.parameters))
        return (self.file.name, *values)

    @property
    def name(self) -> str:
        return f"structure-based model of {self.file.name}"

    def files(self) -> tuple[Path, ...]:
        return (self.file,) if self.file.is_file() else ()

    @cached_property
    def native(self) -> Float[Tensor, "bead 3"]:
        """The native structure, nm."""
        return torch.tensor(self.native_nm, dtype=torch.float64)

    @cached_property
    def contacts(self) -> NativeContacts:
        """The native contacts of the energy."""
        cutoff = self.parameters.contact_cutoff_nm
        return find_contacts(self.native_topology, self.native, cutoff_nm=cutoff, separation=CONTACT_SEPARATION)

    def create(self, topology: Topology) -> MolecularSystem:
        import openmm

        self._require_fit(topology)
        system = openmm.System()
        for _ in topology.atoms:
            system.addParticle(self.parameters.mass_amu)
        for force in (self._bonds(), self._angles(), self._torsions(), self._excluded_volume(), self._contact_energy()):
            system.addForce(force)
        masses = (self.parameters.mass_amu,) * topology.n_atoms
        return MolecularSystem(system, (self.name,), masses, contacts=self.contacts)

    def _require_fit(self, topology: Topology) -> None:
        require_count(self.native_topology.n_atoms, topology, self.name)
        for i, (bead, own) in enumerate(zip(topology.atoms, self.native_topology.atoms, strict=True)):
            if bead.residue_name != own.residue_name:
                raise ValidationError(
                    f"{self.name} does not fit the structure: bead {i + 1} is {bead.label} in the structure and "
                    f"{own.label} there. Give the native structure of the very chain."
                )
        if not self.contacts.pairs:
            raise ValidationError(
                f"{self.name}: no two beads that are {CONTACT_SEPARATION} or more bonds apart are closer than "
                f"contact_cutoff_nm {self.parameters.contact_cutoff_nm:g} nm, so nothing would fold. Give a folded "
                "native structure, or raise contact_cutoff_nm."
            )

    def _bonds(self) -> Any:
        import openmm

        force = openmm.HarmonicBondForce()
        for i, j in self.native_topology.bonds:
            force.addBond(i, j, self.parameters.bond_length_nm, self.parameters.bond_kj_per_mol_nm2)
        return force

    def _angles(self) -> Any:
        import openmm

        force, x = openmm.HarmonicAngleForce(), self.native
        for i, j, k in self.native_topology.angles:
            one, other = x[i] - x[j], x[k] - x[j]
            angle = torch.atan2(torch.linalg.cross(one, other).norm(), one @ other)
            force.addAngle(i, j, k, float(angle), self.parameters.angle_kj_per_mol_rad2)
        return force

    def _torsions(self) -> Any:
        import openmm

        force, quadruples = openmm.PeriodicTorsionForce(), self.native_topology.torsions
        if not quadruples:
            return force
        native = dihedral(self.native, torch.tensor(quadruples)).tolist()
        for quadruple, phi in zip(quadruples, native, strict=True):
            # OpenMM's energy is k (1 + cos(n phi - phase)), so the phase n phi_0 + pi puts a minimum of 0 at phi_0.
            force.addTorsion(*quadruple, 1, phi + torch.pi, self.parameters.torsion_kj_per_mol)
            force.addTorsion(*quadruple, 3, 3 * phi + torch.pi, self.parameters.threefold_torsion_kj_per_mol)
        return force

    def _excluded_volume(self) -> Any:
        """Repulsion as a list of pairs: OpenMM's Reference platform computes it five times as fast as all pairs."""
        import openmm

        p = self.parameters
        force = openmm.CustomBondForce(f"{p.excluded_volume_kj_per_mol!r}*({p.excluded_volume_nm!r}/r)^12")
        for i, j in distant_pairs(self.native_topology, EXCLUDED_SEPARATION):
            force.addBond(i, j, [])
        return force

    def _contact_energy(self) -> Any:
        import openmm

        p, contacts = self.parameters, self.contacts
        overlap = openmm.CustomBondForce(f"exp(-(r-r0)^2/(2*{p.contact_width_nm!r}^2))")
        overlap.addPerBondParameter("r0")
        for (i, j), r0 in zip(contacts.pairs, contacts.distances_nm, strict=True):
            overlap.addBond(i, j, [r0])
        force = openmm.CustomCVForce(
            f"-{p.contact_kj_per_mol!r}*q-{p.cooperative_kj_per_mol!r}*q^2/{len(contacts.pairs)}"
        )
        force.addCollectiveVariable("q", overlap)
        return force

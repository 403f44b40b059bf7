"""What a comparison sees of a molecule: features of its shape, and how far each event between its ends has gone.

Features do not change when the molecule is moved or turned. They feed the Markov model of a simulation. An event is a
part of the transition with a progress e from 0 at the start to 1 at the end, for example a torsion that turns or a
contact that forms. The mean progress of all events is the coordinate q along which ensembles are compared.

    torsions    features cos and sin of every torsion about a bond that can turn, without groups of three hydrogens;
                events are the torsions that differ between the ends, e = d_A / (d_A + d_B) with the angles d_A and d_B
                to the values at both ends
    distances   features distances of beads at least three bonds apart; events are the contacts c of either end
                (`tpsctl.molecule.contacts`) that differ between the ends, e = (c - c_A) / (c_B - c_A) within [0, 1]
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import ValidationError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.contacts import NativeContacts, distant_pairs, find_contacts
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.topology import Topology
from tpsctl.molecule.torsions import named_torsions

LEAST_TURN_RAD = 0.52
"""A torsion that differs by less than this (30 degrees) between the ends is no event."""
CONTACT_CUTOFF_NM, CONTACT_SEPARATION, LEAST_CHANGE = 0.8, 4, 0.5
"""Contacts: largest distance in an end, nm; least number of bonds between; least change of c between the ends."""
FEATURE_SEPARATION, MOST_DISTANCES = 3, 300
"""Distances: least number of bonds between two beads; of more pairs than this, evenly spread ones are taken."""


class Observables(ABC):
    """Features and events of one molecule.

    Attributes:
        kind: "torsions" or "distances".
        names: What the features are made of.
        events: Names of the events, at least one.
    """

    kind: str
    names: tuple[str, ...]
    events: tuple[str, ...]

    @abstractmethod
    def features(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame feature"]:
        """Features of configurations in nm."""

    @abstractmethod
    def progress(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame event"]:
        """Progress of every event, 0 to 1, in configurations in nm."""


class TorsionObservables(Observables):
    """Torsions of a molecule of atoms.

    Args:
        topology: The molecule.
        starts: Its starts A, nm.
        ends: Its ends B, nm; the first of each decide which torsions are events.

    Raises:
        ValidationError: No bond can turn, or no torsion differs between the ends.
    """

    kind = "torsions"

    def __init__(
        self, topology: Topology, starts: Float[Tensor, "pair bead 3"], ends: Float[Tensor, "pair bead 3"]
    ) -> None:
        torsions = [torsion for torsion in named_torsions(topology) if not torsion.rotor]
        if not torsions:
            raise ValidationError(
                "the molecule has no torsion about a bond that can turn, and comparisons of atoms rest on torsions."
            )
        self.names = tuple(torsion.name for torsion in torsions)
        self._atoms = torch.tensor([torsion.atoms for torsion in torsions])
        at_start, at_end = self._angles(starts[:1])[0], self._angles(ends[:1])[0]
        turned = (_apart(at_start, at_end) > LEAST_TURN_RAD).nonzero().flatten()
        if not len(turned):
            raise ValidationError(
                f"no torsion differs by more than {LEAST_TURN_RAD * 57.2958:.0f} degrees between the ends: "
                "there are no events to compare."
            )
        self.events = tuple(self.names[k] for k in turned.tolist())
        self._turned, self._start, self._end = turned, at_start[turned], at_end[turned]

    def features(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame feature"]:
        angles = self._angles(x)
        return torch.cat((angles.cos(), angles.sin()), dim=1)

    def progress(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame event"]:
        angles = self._angles(x)[:, self._turned]
        from_start, from_end = _apart(angles, self._start), _apart(angles, self._end)
        return from_start / (from_start + from_end)

    def _angles(self, x: Tensor) -> Tensor:
        return dihedral(x.double(), self._atoms)


class DistanceObservables(Observables):
    """Distances within a chain of beads.

    Args:
        topology: The chain.
        starts: Its starts A, nm.
        ends: Its ends B, nm.

    Raises:
        ValidationError: The chain is too short, or no contact differs between the ends.
    """

    kind = "distances"

    def __init__(
        self, topology: Topology, starts: Float[Tensor, "pair bead 3"], ends: Float[Tensor, "pair bead 3"]
    ) -> None:
        pairs = distant_pairs(topology, FEATURE_SEPARATION)
        if not pairs:
            raise ValidationError(
                f"the chain has no beads {FEATURE_SEPARATION} bonds apart, so there are no distances."
            )
        step = -(-len(pairs) // MOST_DISTANCES)
        self._pairs = torch.tensor(pairs[::step]).T
        self.names = tuple(_name(topology, pair) for pair in pairs[::step])
        contacts = _contacts_of_both(topology, starts[0].double(), ends[0].double())
        if contacts.pairs:
            at_start, at_end = (contacts.formed(side.double()).mean(0) for side in (starts, ends))
            changed = ((at_end - at_start).abs() > LEAST_CHANGE).nonzero().flatten().tolist()
            contacts = NativeContacts(
                tuple(contacts.pairs[k] for k in changed), tuple(contacts.distances_nm[k] for k in changed)
            )
        if not contacts.pairs:
            raise ValidationError(
                f"no contact of at most {CONTACT_CUTOFF_NM:g} nm between beads at least {CONTACT_SEPARATION} bonds "
                "apart forms or breaks between the ends: there are no events to compare."
            )
        self.events = tuple(_name(topology, pair) for pair in contacts.pairs)
        self._contacts, self._start, self._end = contacts, at_start[changed], at_end[changed]

    def features(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame feature"]:
        x = x.double()
        return (x[:, self._pairs[0]] - x[:, self._pairs[1]]).norm(dim=-1)

    def progress(self, x: Float[Tensor, "frame bead 3"]) -> Float[Tensor, "frame event"]:
        formed = self._contacts.formed(x.double())
        return ((formed - self._start) / (self._end - self._start)).clamp(0, 1)


def observables_of(
    topology: Topology, starts: Float[Tensor, "pair bead 3"], ends: Float[Tensor, "pair bead 3"]
) -> Observables:
    """Distances of a chain of beads, torsions of every other molecule.

    Raises:
        ValidationError: The molecule has neither, or its ends do not differ in them.
    """
    beads = kind_of_beads(topology) in (BeadKind.ALPHA_CARBONS, BeadKind.COARSE_GRAINED)
    return (DistanceObservables if beads else TorsionObservables)(topology, starts, ends)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """The angle between two angles, 0 to pi."""
    away = (a - b).abs() % (2 * torch.pi)
    return torch.minimum(away, 2 * torch.pi - away)


def _contacts_of_both(topology: Topology, start: Tensor, end: Tensor) -> NativeContacts:
    """Contacts of either end, each with the shorter of its two distances."""
    found: dict[tuple[int, int], float] = {}
    for x in (start, end):
        contacts = find_contacts(topology, x, cutoff_nm=CONTACT_CUTOFF_NM, separation=CONTACT_SEPARATION)
        for pair, distance in zip(contacts.pairs, contacts.distances_nm, strict=True):
            found[pair] = min(distance, found.get(pair, distance))
    return NativeContacts(tuple(sorted(found)), tuple(found[pair] for pair in sorted(found)))


def _name(topology: Topology, pair: tuple[int, int]) -> str:
    return "-".join(topology.atoms[i].residue for i in pair)

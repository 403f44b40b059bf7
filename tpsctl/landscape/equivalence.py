"""Whether two configurations are the same minimum or saddle, up to rigid motion and relabeling of equivalent atoms.

Relabelings are symmetries of the bond graph that keep every tetrahedral center's handedness, so that a molecule can
reach them without breaking bonds: turns of methyl groups, flips of phenyl rings, both ends of butane exchanged. They
fall into independent units. If labels are kept, no relabeling is allowed, and a ring that flips into itself counts as
another minimum.

Configurations are compared in the space of

    e(x) = (cos phi_t, sin phi_t) / sqrt(torsions about t's bond)      over all torsions t,

where the squared distance of two configurations is the sum over bonds of the mean 2 (1 - cos d phi). A unit's best
relabeling is found in the torsions it touches, unit by unit.
"""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import dihedral, rmsd
from tpsctl.molecule.graph import isomorphisms
from tpsctl.molecule.symmetry import StereoCenters, equivalence_classes, refine, stereo_centers
from tpsctl.molecule.topology import Topology

MAX_RELABELINGS = 500
"""Most relabelings of one unit that are tried; a unit with more keeps its labels."""

SAME_RMSD_NM = 2e-3
"""Stationary points are known to 1e-5 nm; two that differ by more than this after superposition are different."""

SAME_ENERGY = 2e-3
"""Points whose energies differ by more than this, kJ/mol, are different states. (|grad U| of 1e-3 kJ/mol/nm leaves
an error below 1e-6 kJ/mol along all but the flattest modes.)"""


@dataclass(frozen=True)
class Tolerance:
    """How much two configurations of one state may differ.

    Attributes:
        energy: Largest difference of their energies, kJ/mol.
        rmsd_nm: Largest root-mean-square distance of their atoms after superposition, nm.
    """

    energy: float
    rmsd_nm: float


EXACT = Tolerance(SAME_ENERGY, SAME_RMSD_NM)
"""Tolerance for configurations with the same labels; and for relabeled ones where the energy does not see labels."""


@dataclass(frozen=True)
class Unit:
    """Atoms that are relabeled together.

    Attributes:
        atoms: Numbers of the atoms.
        options: Relabelings: atom `options[k][m]` takes the place of atom `atoms[m]`; the first one changes nothing.
    """

    atoms: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


class Equivalence:
    """Compares configurations of one molecule.

    Args:
        topology: Bonds; None for a model system, whose points are compared as they are.
        units: Independent units of atoms whose relabelings give the same state.
        centers: Centers whose handedness must not change.
        reference: A structure with the right handedness, nm.
        relabeled: How much relabeled copies of a state may differ; more than `EXACT` on a learned landscape, which
            tells equivalent atoms apart (`tpsctl.landscape.relabeling`).

    Attributes:
        reference_handedness: `handedness` of every state of this molecule.
    """

    def __init__(
        self,
        topology: Topology | None,
        units: Sequence[Unit] = (),
        centers: StereoCenters | None = None,
        reference: Float[Tensor, "atom dim"] | None = None,
        relabeled: Tolerance = EXACT,
    ) -> None:
        self.topology, self.units, self._centers = topology, tuple(units), centers
        self._reference, self.relabeled = reference, relabeled
        self.reference_handedness = () if reference is None else self.handedness(reference)
        torsions = () if topology is None else topology.torsions
        about: dict[tuple[int, int], int] = {}
        for _, j, k, _ in torsions:
            about[j, k] = about.get((j, k), 0) + 1
        self._torsions = torch.tensor(torsions, dtype=torch.long).reshape(-1, 4)
        self._weights = torch.tensor([about[j, k] ** -0.5 for _, j, k, _ in torsions], dtype=torch.float64)

    def tolerating(self, relabeled: Tolerance) -> "Equivalence":
        """The same comparison with another tolerance for relabeled copies."""
        return Equivalence(self.topology, self.units, self._centers, self._reference, relabeled)

    @property
    def copies(self) -> int:
        """Number of labelings of the atoms that count as one state."""
        count = 1
        for unit in self.units:
            count *= len(unit.options)
        return count

    def handedness(self, x: Float[Tensor, "atom dim"]) -> tuple[float, ...]:
        """Signs of all stereo centers; a configuration with other signs belongs to another stereoisomer."""
        return () if self._centers is None else tuple(self._centers.handedness(x[None])[0].tolist())

    def relabeled_towards(self, x: Float[Tensor, "atom dim"], target: Float[Tensor, "atom dim"]) -> tuple[int, ...]:
        """The relabeling of x, as an order of its atoms, whose torsions are closest to the target's."""
        order = list(range(len(x)))
        if not self.units:
            return tuple(order)
        goal = self._embedded(target[None])[0]
        for _ in range(2 if len(self.units) > 1 else 1):
            for unit in self.units:
                trials = torch.tensor([_replaced(order, unit, option) for option in unit.options])
                distance = (self._embedded(x[trials]) - goal).square().sum(1)
                order = trials[int(distance.argmin())].tolist()
        return tuple(order)

    def turning(self, x: Float[Tensor, "atom dim"], target: Float[Tensor, "atom dim"]) -> float:
        """Squared distance of two configurations after relabeling: the sum over bonds of the mean 2 (1 - cos d phi)."""
        if self.topology is None:
            return float((x - target).square().sum())
        order = list(self.relabeled_towards(x, target))
        return float((self._embedded(x[order][None]) - self._embedded(target[None])).square().sum())

    def turnings(
        self, x: Float[Tensor, "batch atom dim"], target: Float[Tensor, "other atom dim"]
    ) -> Float[Tensor, "batch other"]:
        """`turning` of all pairs of configurations; an upper bound of it where units share torsions."""
        if self.topology is None:
            return torch.cdist(x.flatten(1), target.flatten(1)).square()
        goal, plain = self._embedded(target), self._embedded(x)
        total = torch.cdist(goal, plain, compute_mode="donot_use_mm_for_euclid_dist").square()
        for unit, touched in zip(self.units, self._touched, strict=True):
            here = goal[:, touched]
            options = [_replaced(range(x.shape[1]), unit, option) for option in unit.options]
            each = [torch.cdist(here, self._embedded(x[:, order])[:, touched]).square() for order in options]
            total = total + (torch.stack(each).amin(0) - each[0])
        return total.T.clamp_min(0.0)

    def same(
        self, x: Float[Tensor, "atom dim"], y: Float[Tensor, "atom dim"], energies: tuple[float, float]
    ) -> tuple[int, ...] | None:
        """The order of atoms in which x (nm) is y up to rigid motion, or None if they are different states.

        `energies` holds the energies of x and y, kJ/mol.
        """
        difference = abs(energies[0] - energies[1])
        if difference > max(EXACT.energy, self.relabeled.energy):
            return None
        as_they_are = tuple(range(len(x)))
        if self.topology is None:
            return as_they_are if float((x - y).norm(dim=-1).max()) < EXACT.rmsd_nm else None
        order = self.relabeled_towards(x, y)
        limit = EXACT if order == as_they_are else self.relabeled
        alike = difference <= limit.energy and float(rmsd(x[list(order)], y)) < limit.rmsd_nm
        return order if alike else None

    @cached_property
    def _touched(self) -> list[Tensor]:
        """For each unit the components of e in whose torsions its atoms take part."""
        found = []
        for unit in self.units:
            atoms = torch.tensor(unit.atoms)
            touched = torch.isin(self._torsions, atoms).any(1)
            found.append(torch.cat((touched, touched)))
        return found

    def _embedded(self, x: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch component"]:
        phi = dihedral(x, self._torsions)
        return torch.cat((phi.cos() * self._weights.to(x), phi.sin() * self._weights.to(x)), 1)


def equivalence_of(topology: Topology, x: Float[Tensor, "atom 3"], *, keep_labels: bool = False) -> Equivalence:
    """Set up the comparison for a molecule.

    Args:
        topology: Atoms and bonds.
        x: Any structure of the molecule, nm, from which the handedness of its centers is taken.
        keep_labels: Whether relabeled structures count as different states.
    """
    centers = stereo_centers(topology, x[None])
    if keep_labels:
        return Equivalence(topology, (), centers, x)
    classes = _classes(topology)
    units = []
    for group in _groups(topology, classes, centers):
        options = _options(topology, classes, group, centers, x)
        if len(options) > 1:
            units.append(Unit(group, options))
    return Equivalence(topology, units, centers, x)


def _classes(topology: Topology) -> list[int]:
    """The class of every atom; atoms of one class are equivalent in the bond graph and in the same fragment."""
    alone = [-1 if around else i for i, around in enumerate(topology.neighbors)]
    labels: list[Hashable] = list(zip(equivalence_classes(topology), alone, strict=True))
    return refine(topology.neighbors, labels)


def _groups(topology: Topology, classes: Sequence[int], centers: StereoCenters) -> list[tuple[int, ...]]:
    """Movable atoms joined by class, bond or common center: relabelings of different groups are independent."""
    counts = {color: classes.count(color) for color in set(classes)}
    movable = [i for i, color in enumerate(classes) if counts[color] > 1]
    parent = {i: i for i in movable}

    def root(i: int) -> int:
        return i if parent[i] == i else root(parent[i])

    cells: dict[int, list[int]] = {}
    for i in movable:
        cells.setdefault(classes[i], []).append(i)
    for link in (*cells.values(), *topology.bonds, *centers.neighbors):
        members = [i for i in link if i in parent]
        for i in members[1:]:
            parent[root(i)] = root(members[0])
    groups: dict[int, list[int]] = {}
    for i in movable:
        groups.setdefault(root(i), []).append(i)
    return [tuple(group) for group in groups.values()]


def _options(
    topology: Topology, classes: Sequence[int], group: tuple[int, ...], centers: StereoCenters, x: Tensor
) -> tuple[tuple[int, ...], ...]:
    """The symmetries of the bond graph that move only this group and keep all handedness; the identity first."""
    local = {atom: m for m, atom in enumerate(group)}
    neighbors = [[local[j] for j in topology.neighbors[i] if j in local] for i in group]
    labels = [(classes[i], tuple(j for j in topology.neighbors[i] if j not in local)) for i in group]
    found = itertools.islice(isomorphisms(neighbors, neighbors, labels, labels), MAX_RELABELINGS * 20)
    wanted = centers.handedness(x)
    kept = [group]
    for option in found:
        moved = tuple(group[m] for m in option)
        order = list(range(len(x)))
        for atom, other in zip(group, moved, strict=True):
            order[atom] = other
        if moved != group and bool((centers.handedness(x[order]) == wanted).all()):
            kept.append(moved)
    return tuple(kept) if len(kept) <= MAX_RELABELINGS else (group,)


def _replaced(order: Sequence[int], unit: Unit, option: tuple[int, ...]) -> list[int]:
    """An order of atoms after one more relabeling."""
    changed = list(order)
    for atom, other in zip(unit.atoms, option, strict=True):
        changed[atom] = order[other]
    return changed

"""Relabels equivalent atoms so that every center has the same handedness in both ends and torsions turn least.

Equivalent atoms fall into independent units (a methyl group, a phenyl ring). The symmetries of a unit are enumerated on
the graph, and symmetries that leave a center with opposite handedness in the two ends are dropped.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.endpoints.structure import Structure, residue_ordinals
from tpsctl.errors import EndpointError
from tpsctl.molecule.geometry import dihedral, rmsd, superpose
from tpsctl.molecule.graph import Order, cells_of, isomorphisms
from tpsctl.molecule.symmetry import StereoCenters, refine, stereo_centers
from tpsctl.molecule.topology import Atom, Topology

MAX_SYMMETRIES = 2_000
"""Largest number of relabelings that are tried for one unit of equivalent atoms (a tert-butyl group has 1296)."""

MAX_COMBINATIONS = 4096
"""Largest number of combinations over all units that are compared exactly; beyond it, units are improved in turn."""

AMBIGUOUS_NM = 1e-3
"""Two maps of heavy atoms found from the graph alone must differ in RMSD by more than this (PDB precision 1e-4)."""

GAIN_NM = 1e-4
"""A relabeling of equivalent atoms must lower the RMSD by more than this to replace the names in the file."""

TURN_TIE = 0.02
"""Two relabelings turn torsions equally if their sums of 1 - cos(change) differ by less than this."""


@dataclass(frozen=True)
class _Unit:
    """Equivalent atoms that are relabeled together: in option k, atom `options[k][m]` gets the label of `atoms[m]`."""

    atoms: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


def best_relabeling(
    start: Structure, end: Structure, base: Order, *, by_graph: bool, residues_kept: bool = True
) -> Order:
    """Find the allowed relabeling of `base` that turns torsions least.

    Args:
        start: The structure whose labels are kept.
        end: The structure that is relabeled.
        base: A map that keeps elements and bonds.
        by_graph: Whether the map was found by bonds, so that another map of heavy atoms may be as good.
        residues_kept: Whether atoms of different residues are never exchanged.

    Returns:
        The map, from every atom of the start to its atom of the end.

    Raises:
        EndpointError: A chirality is swapped, or too many or equally good relabelings make the map ambiguous.
    """
    x_end = end.x[list(base)]
    centers = stereo_centers(start.topology, torch.stack([start.x, x_end]))
    wanted = centers.handedness(start.x)
    classes = _classes(start.topology, residues_kept=residues_kept)
    groups = _units(start.topology, classes, centers)
    _require_same_chirality(start, end, centers, centers.handedness(x_end) != wanted, groups)
    units = []
    for group in groups:
        options = _allowed(_symmetries(start, classes, group), group, centers, wanted, x_end)
        if not options:
            inside = [c for c, n in zip(centers.atoms, centers.neighbors, strict=True) if set(n) & set(group)]
            raise _chirality_error(start, end, start.topology, inside[0])
        units.append(_Unit(group, options))
    if math.prod(len(unit.options) for unit in units) <= MAX_COMBINATIONS:
        relabeling = _best_combination(start, end, x_end, units, by_graph=by_graph)
    else:
        relabeling = _descend(start, x_end, units)
    return tuple(base[i] for i in relabeling)


def _classes(topology: Topology, *, residues_kept: bool) -> list[int]:
    """Colors of equivalent atoms; unbonded atoms, and with `residues_kept` atoms of different residues, differ."""
    residues = residue_ordinals(topology)
    labels = [
        (atom.element, residues[i] if residues_kept else -1, -1 if topology.neighbors[i] else i)
        for i, atom in enumerate(topology.atoms)
    ]
    return refine(topology.neighbors, labels)


def _units(topology: Topology, classes: Sequence[int], centers: StereoCenters) -> list[tuple[int, ...]]:
    """Group equivalent atoms so that symmetries of different groups are independent.

    Atoms belong together if they are of one class, bonded, or neighbors of one stereo center.
    """
    movable = {i for members in cells_of(classes).values() if len(members) > 1 for i in members}
    parent = {i: i for i in movable}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    links: list[Sequence[int]] = [*cells_of(classes).values(), *topology.bonds, *centers.neighbors]
    for link in links:
        members = [i for i in link if i in movable]
        for i in members[1:]:
            parent[root(i)] = root(members[0])
    groups: dict[int, list[int]] = {}
    for i in sorted(movable):
        groups.setdefault(root(i), []).append(i)
    return [tuple(group) for group in groups.values()]


def _symmetries(start: Structure, classes: Sequence[int], group: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All symmetries of the graph that move only this group; the identity is the first."""
    topology = start.topology
    local = {atom: m for m, atom in enumerate(group)}
    _refuse_many_equal_molecules(start, classes, group)
    neighbors = [[local[j] for j in topology.neighbors[i] if j in local] for i in group]
    labels = [(classes[i], tuple(j for j in topology.neighbors[i] if j not in local)) for i in group]
    found = list(itertools.islice(isomorphisms(neighbors, neighbors, labels, labels), MAX_SYMMETRIES + 1))
    if len(found) > MAX_SYMMETRIES:
        raise _too_symmetric(start, group)
    identity = tuple(range(len(group)))
    ordered = [identity, *(option for option in found if option != identity)]
    return [tuple(group[m] for m in option) for option in ordered]


def _refuse_many_equal_molecules(start: Structure, classes: Sequence[int], group: tuple[int, ...]) -> None:
    """Raise without a search if whole molecules can be exchanged in too many ways."""
    inside, molecules, seen = set(group), Counter[tuple[int, ...]](), set[int]()
    for first in group:
        if first in seen:
            continue
        molecule = start.topology.branch(first, without=-1)
        seen |= molecule
        if molecule <= inside:
            molecules[tuple(sorted(classes[i] for i in molecule))] += 1
    if math.prod(math.factorial(count) for count in molecules.values()) > MAX_SYMMETRIES:
        raise _too_symmetric(start, group)


def _too_symmetric(start: Structure, group: tuple[int, ...]) -> EndpointError:
    first = start.topology.atoms[group[0]].label
    return EndpointError(
        f"{start.source}: {len(group)} equivalent atoms (first: {first}) can be relabeled "
        f"in more than {MAX_SYMMETRIES} ways: the map is ambiguous. Give both files the same atom names, or leave "
        "identical molecules out with endpoints.select."
    )


def _allowed(
    options: list[tuple[int, ...]], group: tuple[int, ...], centers: StereoCenters, wanted: Tensor, x_end: Tensor
) -> tuple[tuple[int, ...], ...]:
    """The relabelings after which every center next to the group has the same handedness as in the start."""
    touched = [k for k, around in enumerate(centers.neighbors) if set(around) & set(group)]
    if not touched:
        return tuple(options)
    near = StereoCenters(tuple(centers.atoms[k] for k in touched), tuple(centers.neighbors[k] for k in touched))
    columns = torch.tensor(group)
    kept = []
    for option in options:
        x = x_end.clone()
        x[columns] = x_end[list(option)]
        if bool((near.handedness(x) == wanted[touched]).all()):
            kept.append(option)
    return tuple(kept)


def _best_combination(
    start: Structure, end: Structure, x_end: Tensor, units: list[_Unit], *, by_graph: bool
) -> list[int]:
    """Compare all combinations of the units' options exactly."""
    candidates = []
    for choice in itertools.product(*(unit.options for unit in units)):
        relabeling = list(range(len(x_end)))
        for unit, option in zip(units, choice, strict=True):
            for atom, other in zip(unit.atoms, option, strict=True):
                relabeling[atom] = other
        candidates.append(relabeling)
    turns = _turns(start, x_end, candidates, {atom for unit in units for atom in unit.atoms})
    deviations = rmsd(x_end[torch.tensor(candidates)], start.x.expand(len(candidates), -1, -1))
    deviations[turns > turns.min() + TURN_TIE] = math.inf
    best = int(deviations.argmin())
    if by_graph:
        _refuse_ambiguity(start, end, candidates, deviations, best)
    # The first candidate changes the fewest labels, so it is kept unless another is clearly better.
    return candidates[0] if deviations[0] <= deviations[best] + GAIN_NM else candidates[best]


def _refuse_ambiguity(
    start: Structure, end: Structure, candidates: list[list[int]], deviations: Tensor, best: int
) -> None:
    """Raise if another map of the heavy atoms is as good as the best."""
    heavy = [i for i, atom in enumerate(start.topology.atoms) if atom.element != "H"]
    for k in (deviations < deviations[best] + AMBIGUOUS_NM).nonzero().flatten().tolist():
        differing = [i for i in heavy if candidates[k][i] != candidates[best][i]]
        if differing:
            raise EndpointError(
                f"endpoints {start.source} and {end.source}: atom names differ and the map by bonds is ambiguous; "
                f"{start.topology.atoms[differing[0]].label} has two partners that fit equally well (RMSD "
                f"{float(deviations[best]):.4f} and {float(deviations[k]):.4f} nm). Use the same names in both files."
            )


def _descend(start: Structure, x_end: Tensor, units: list[_Unit]) -> list[int]:
    """Improve one unit after the other until nothing changes."""
    relabeling = list(range(len(x_end)))
    for _ in range(50):
        changed = False
        for unit in units:
            trials = [_relabeled(relabeling, unit, option) for option in unit.options]
            best = _best_trial(start, x_end, trials, unit, relabeling)
            changed |= best != relabeling
            relabeling = best
        if not changed:
            break
    return relabeling


def _relabeled(relabeling: list[int], unit: _Unit, option: tuple[int, ...]) -> list[int]:
    changed = list(relabeling)
    for atom, other in zip(unit.atoms, option, strict=True):
        changed[atom] = other
    return changed


def _best_trial(start: Structure, x_end: Tensor, trials: list[list[int]], unit: _Unit, now: list[int]) -> list[int]:
    """The trial that turns torsions least; among equal ones the closest at the present superposition, or `now`."""
    moved = superpose(x_end[now], start.x)
    at = {atom: row for row, atom in enumerate(now)}  # row of `moved` that holds an atom of the end
    rows = torch.tensor([[at[trial[atom]] for atom in unit.atoms] for trial in trials])
    costs = (moved[rows] - start.x[list(unit.atoms)]).square().sum((-1, -2))
    turns = _turns(start, x_end, trials, set(unit.atoms))
    costs[turns > turns.min() + TURN_TIE] = math.inf
    best = int(costs.argmin())
    if now in trials and costs[trials.index(now)] <= costs[best] + len(unit.atoms) * GAIN_NM**2:
        return now
    return trials[best]


def _turns(start: Structure, x_end: Tensor, relabelings: list[list[int]], atoms: set[int]) -> Tensor:
    """Sum of 1 - cos(change) from start to end over torsions that contain one of `atoms`, for each relabeling."""
    touched = [torsion for torsion in start.topology.torsions if atoms & set(torsion)]
    if not touched:
        return torch.zeros(len(relabelings), dtype=x_end.dtype)
    torsions = torch.tensor(touched)
    in_order = torch.arange(torsions.numel()).reshape(-1, 4)
    at_start = dihedral(start.x, torsions)
    turns = []
    for chunk in torch.tensor(relabelings).split(256):
        at_end = dihedral(x_end[chunk[:, torsions.flatten()]], in_order)
        turns.append((1 - torch.cos(at_end - at_start)).sum(-1))
    return torch.cat(turns)


def _require_same_chirality(
    start: Structure, end: Structure, centers: StereoCenters, differs: Tensor, groups: list[tuple[int, ...]]
) -> None:
    """Raise if a center whose neighbors are all distinct has opposite handedness in the two ends."""
    movable = {i for group in groups for i in group}
    for atom, around, different in zip(centers.atoms, centers.neighbors, differs.tolist(), strict=True):
        if different and not movable & set(around):
            raise _chirality_error(start, end, start.topology, atom)


def require_same_handedness(start: Structure, end: Structure, base: Order) -> None:
    """Raise unless every center has the same handedness with the labels as given.

    Raises:
        EndpointError: A center differs; the message names the first one.
    """
    x_end = end.x[list(base)]
    centers = stereo_centers(start.topology, torch.stack([start.x, x_end]))
    differs = (centers.handedness(start.x) != centers.handedness(x_end)).tolist()
    for atom, different in zip(centers.atoms, differs, strict=True):
        if different:
            label = start.topology.atoms[atom].label
            raise EndpointError(
                f"endpoints.equivalent_atoms: keep: with the labels as given, center {label} has "
                f"opposite handedness in {start.source} and {end.source}; no path connects the two without "
                "breaking bonds. Exchange the labels of two equivalent atoms there, or use relabel."
            )


def _chirality_error(start: Structure, end: Structure, topology: Topology, atom: int) -> EndpointError:
    label = topology.atoms[atom].label
    forms = [_alpha_carbon_form(s) for s in ((topology, start.x, atom), _same_label(end, topology.atoms[atom]))]
    found = (
        f"is {forms[0]} in {start.source} and {forms[1]} in {end.source}"
        if all(forms)
        else f"has opposite handedness in {start.source} and {end.source}"
    )
    return EndpointError(
        f"swapped chirality: center {label} {found}; no path connects the two without breaking bonds. "
        "Rebuild the wrong one, or use an end of the same stereoisomer."
    )


def _same_label(structure: Structure, atom: Atom) -> tuple[Topology, Tensor, int]:
    topology = structure.topology
    same = (i for i, other in enumerate(topology.atoms) if other.label == atom.label)
    return topology, structure.x, next(same, -1)


def _alpha_carbon_form(where: tuple[Topology, Tensor, int]) -> str:
    """ "L" or "D" for the C-alpha of an amino acid, "" otherwise."""
    topology, x, atom = where
    if atom < 0 or topology.atoms[atom].name != "CA":
        return ""
    names = {topology.atoms[j].name: j for j in topology.neighbors[atom]}
    if not {"N", "C", "CB"} <= set(names):
        return ""
    n, c, cb = (x[names[name]] - x[atom] for name in ("N", "C", "CB"))
    return "L" if float(torch.linalg.det(torch.stack([n, c, cb]))) > 0 else "D"

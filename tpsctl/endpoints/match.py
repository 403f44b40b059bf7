"""Which atom of the end is which atom of the start.

1. By name: chain, residue and atom name, then with less and less of the labels. If names do not give
   a one-to-one map, by the bond graph (color refinement and a search).
2. Equivalent atoms (methyl hydrogens, phenyl sides, carboxylate oxygens, NH2 and NH3 hydrogens, methyls
   of valine ...) are relabeled so that torsions turn least on the path; among equals the RMSD after
   superposition decides. They fall into independent units; the symmetries of a unit are enumerated.
3. Only relabelings that give every tetrahedral center the same handedness in both ends are allowed. So
   methyl hydrogens wind the same way: a path between opposite windings would have to push one hydrogen
   through another. A center that no relabeling can bring into agreement has swapped chirality.

The order of the start is never changed; the map reorders the end.
"""

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tpsctl.endpoints.structure import Structure
from tpsctl.errors import EndpointError
from tpsctl.geometry import dihedral, rmsd, superpose
from tpsctl.symmetry import StereoCenters, refine, stereo_centers
from tpsctl.topology import Atom, Topology

MAX_SYMMETRIES = 2_000
"""Most relabelings tried for one unit of equivalent atoms (a tert-butyl group: 1296)."""

MAX_COMBINATIONS = 4096
"""Most combinations over all units compared exactly; beyond, units are improved in turn."""

AMBIGUOUS_NM = 1e-3
"""Two maps of heavy atoms found from the graph alone must differ in RMSD by more than this (PDB precision 1e-4)."""

GAIN_NM = 1e-4
"""A relabeling of equivalent atoms must lower the RMSD by more than this to replace the names in the file."""

TURN_TIE = 0.02
"""Two relabelings turn torsions equally if their sums of 1 - cos(change) differ by less than this."""

Order = tuple[int, ...]


@dataclass(frozen=True)
class AtomMap:
    """Result of `match`.

    Attributes:
        order: `end.x[list(order)]` is in the start's order.
        method: "name" or "graph".
        renamed: (start label, end label) of atoms whose partner has another label.
        rmsd_by_label_nm: RMSD after superposition before equivalent atoms were relabeled.
        rmsd_nm: The same after.
        notes: Things worth telling the user.
    """

    order: Order
    method: str
    renamed: tuple[tuple[str, str], ...]
    rmsd_by_label_nm: float
    rmsd_nm: float
    notes: tuple[str, ...] = ()


def match(start: Structure, end: Structure) -> AtomMap:
    """The map of the end's atoms onto the start's.

    Raises:
        EndpointError: Different atoms, missing hydrogens, swapped chirality, or an ambiguous map.
    """
    _require_same_composition(start, end)
    by_name = _match_by_name(start.topology, end.topology)
    base = by_name if by_name is not None else _match_by_graph(start, end)
    order = _best_relabeling(start, end, base, by_graph=by_name is None)
    ours, theirs = start.topology.atoms, end.topology.atoms
    renamed = tuple(
        (a.label, theirs[j].label)
        for a, j, j_by_name in zip(ours, order, base, strict=True)
        if (j != j_by_name if by_name is not None else a.name != theirs[j].name)
    )
    return AtomMap(
        order=order,
        method="graph" if by_name is None else "name",
        renamed=renamed,
        rmsd_by_label_nm=float(rmsd(end.x[list(base)], start.x)),
        rmsd_nm=float(rmsd(end.x[list(order)], start.x)),
        notes=_bond_notes(start, end, order),
    )


# --- the same atoms? ---------------------------------------------------------------------------------------


def _require_same_composition(start: Structure, end: Structure) -> None:
    ours, theirs = start.topology.atoms, end.topology.atoms
    if sorted(a.element for a in ours) == sorted(a.element for a in theirs):
        return
    only_start, only_end = _unmatched(ours, theirs), _unmatched(theirs, ours)
    counts = f"{len(ours)} vs {len(theirs)} atoms"
    for extra, rest, poorer in ((only_start, only_end, end), (only_end, only_start, start)):
        if extra and not rest and all(atom.element == "H" for atom in extra):
            raise EndpointError(
                f"endpoints differ: {counts}; {poorer.source} lacks {len(extra)} hydrogens of the other end (first: "
                f"{extra[0].label}). Add them, e.g. with `tpsctl prepare`, or set endpoints.select."
            )
    first = f"{start.source} has {only_start[0].label}" if only_start else f"{end.source} has {only_end[0].label}"
    raise EndpointError(
        f"endpoints {start.source} and {end.source} differ: {counts} (first mismatch: {first}). "
        "Use the same topology or set endpoints.select."
    )


def _unmatched(atoms: Sequence[Atom], others: Sequence[Atom]) -> list[Atom]:
    """Atoms without a partner of the same residue number and name, else of the same element."""
    known = {(a.residue_id, a.name) for a in others}
    loose = [a for a in atoms if (a.residue_id, a.name) not in known]
    spare = [a.element for a in others if (a.residue_id, a.name) not in {(b.residue_id, b.name) for b in atoms}]
    left = []
    for atom in loose:
        if atom.element in spare:
            spare.remove(atom.element)
        else:
            left.append(atom)
    return left


# --- a first map -------------------------------------------------------------------------------------------


def _match_by_name(start: Topology, end: Topology) -> Order | None:
    """Map by the strictest labels that are one-to-one, agree in elements and keep the bonds; None if none do."""
    for keys in zip(label_keys(start), label_keys(end), strict=True):
        position = {key: j for j, key in enumerate(keys[1])}
        if len(position) < end.n_atoms or set(position) != set(keys[0]) or len(set(keys[0])) < start.n_atoms:
            continue
        order = tuple(position[key] for key in keys[0])
        if all(a.element == end.atoms[j].element for a, j in zip(start.atoms, order, strict=True)) and (
            len(start.bonds) != len(end.bonds) or _keeps_bonds(start, end, order)
        ):
            return order
    return None


def label_keys(topology: Topology) -> list[list[Hashable]]:
    """Labels of every atom, from strict to loose."""
    chains = _ordinals([a.chain_id for a in topology.atoms])
    residues = _residue_ordinals(topology)
    rows = list(zip(topology.atoms, chains, residues, strict=True))
    return [
        [(a.chain_id, a.residue_id, a.residue_name, a.name) for a, _, _ in rows],
        [(c, a.residue_id, a.residue_name, a.name) for a, c, _ in rows],
        [(r, a.name) for a, _, r in rows],
    ]


def _ordinals(values: Sequence[Hashable]) -> list[int]:
    """Number of the run of equal values every item belongs to."""
    numbers: list[int] = []
    for i, value in enumerate(values):
        numbers.append(0 if i == 0 else numbers[-1] + (value != values[i - 1]))
    return numbers


def _residue_ordinals(topology: Topology) -> list[int]:
    return _ordinals([(a.chain_id, a.residue_id, a.residue_name) for a in topology.atoms])


def _keeps_bonds(start: Topology, end: Topology, order: Order) -> bool:
    mapped = {tuple(sorted((order[i], order[j]))) for i, j in start.bonds}
    return mapped == set(end.bonds)


def _match_by_graph(start: Structure, end: Structure) -> Order:
    """Any map that keeps elements and bonds, within residues in order if possible."""
    for structure in (start, end):
        loose = [i for i, n in enumerate(structure.topology.neighbors) if not n]
        if loose and structure.topology.n_atoms > 1:
            raise EndpointError(
                f"endpoints {start.source} and {end.source}: atom names differ, and the atoms cannot be matched by "
                f"bonds because {len(loose)} atoms of {structure.source} have none (first: "
                f"{structure.topology.atoms[loose[0]].label}). Use the same names in both files or add CONECT records."
            )
    for with_residues in (True, False):
        labels = [
            [(a.element, r if with_residues else 0) for a, r in zip(t.atoms, _residue_ordinals(t), strict=True)]
            for t in (start.topology, end.topology)
        ]
        found = next(
            _isomorphisms(start.topology.neighbors, end.topology.neighbors, labels[0], labels[1]),
            None,
        )
        if found is not None:
            return found
    raise EndpointError(
        f"endpoints {start.source} and {end.source}: the same elements, but neither names nor bonds agree "
        f"({len(start.topology.bonds)} vs {len(end.topology.bonds)} bonds). They are different molecules, tautomers or "
        "protonation states. Use one topology for both ends."
    )


def _isomorphisms(
    ours: Sequence[Sequence[int]],
    theirs: Sequence[Sequence[int]],
    our_labels: Sequence[Hashable],
    their_labels: Sequence[Hashable],
) -> Iterator[Order]:
    """All label- and bond-preserving maps ours -> theirs, by individualization and refinement."""
    n = len(ours)
    both = [*ours, *([n + j for j in around] for around in theirs)]
    colors = refine(both, [*our_labels, *their_labels])
    left, right = _cells(colors[:n]), _cells(colors[n:])
    if {c: len(m) for c, m in left.items()} != {c: len(m) for c, m in right.items()}:
        return
    open_cells = [c for c, members in left.items() if len(members) > 1]
    if not open_cells:
        order = tuple(right[color][0] for color in colors[:n])
        if all(sorted(order[j] for j in ours[i]) == sorted(theirs[order[i]]) for i in range(n)):
            yield order
        return
    cell = min(open_cells, key=lambda c: (len(left[c]), c))
    first = left[cell][0]
    for candidate in right[cell]:
        our_colors = [(c, i == first) for i, c in enumerate(colors[:n])]
        their_colors = [(c, j == candidate) for j, c in enumerate(colors[n:])]
        yield from _isomorphisms(ours, theirs, our_colors, their_colors)


def _cells(colors: Sequence[int]) -> dict[int, list[int]]:
    cells: dict[int, list[int]] = {}
    for i, color in enumerate(colors):
        cells.setdefault(color, []).append(i)
    return cells


# --- equivalent atoms --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Unit:
    """Equivalent atoms that are relabeled together: `options[k][m]` takes the place of `atoms[m]`."""

    atoms: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


def _best_relabeling(start: Structure, end: Structure, base: Order, *, by_graph: bool) -> Order:
    """The allowed relabeling of `base` that turns torsions least."""
    x_end = end.x[list(base)]
    centers = stereo_centers(start.topology, torch.stack([start.x, x_end]))
    wanted = centers.handedness(start.x)
    classes = _classes(start.topology, by_graph=by_graph)
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


def _classes(topology: Topology, *, by_graph: bool) -> list[int]:
    """Colors of equivalent atoms; names, where they were used, keep residues and unbonded atoms apart."""
    residues = _residue_ordinals(topology)
    labels = [
        (atom.element, -1 if by_graph else residues[i], -1 if topology.neighbors[i] else i)
        for i, atom in enumerate(topology.atoms)
    ]
    return refine(topology.neighbors, labels)


def _units(topology: Topology, classes: Sequence[int], centers: StereoCenters) -> list[tuple[int, ...]]:
    """Equivalent atoms grouped so that symmetries of different groups are independent.

    Atoms belong together if they are of one class, bonded, or neighbors of one stereo center.
    """
    movable = {i for members in _cells(classes).values() if len(members) > 1 for i in members}
    parent = {i: i for i in movable}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    links: list[Sequence[int]] = [*_cells(classes).values(), *topology.bonds, *centers.neighbors]
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
    neighbors = [[local[j] for j in topology.neighbors[i] if j in local] for i in group]
    labels = [(classes[i], tuple(j for j in topology.neighbors[i] if j not in local)) for i in group]
    found = list(itertools.islice(_isomorphisms(neighbors, neighbors, labels, labels), MAX_SYMMETRIES + 1))
    if len(found) > MAX_SYMMETRIES:
        raise EndpointError(
            f"{start.source}: {len(group)} equivalent atoms (first: {topology.atoms[group[0]].label}) can be relabeled "
            f"in more than {MAX_SYMMETRIES} ways: the map is ambiguous. Give both files the same atom names, or leave "
            "identical molecules out with endpoints.select."
        )
    identity = tuple(range(len(group)))
    ordered = [identity, *(option for option in found if option != identity)]
    return [tuple(group[m] for m in option) for option in ordered]


def _allowed(
    options: list[tuple[int, ...]], group: tuple[int, ...], centers: StereoCenters, wanted: Tensor, x_end: Tensor
) -> tuple[tuple[int, ...], ...]:
    """The relabelings after which every center next to the group is handed as in the start."""
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
    # The first candidate changes least; it stays unless another is clearly better.
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
    """The trial that turns torsions least, then the closest at the present superposition; `now` wins ties."""
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
    """How far torsions that contain one of `atoms` turn from start to end: sum of 1 - cos(change), per relabeling."""
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


# --- chirality ---------------------------------------------------------------------------------------------


def _require_same_chirality(
    start: Structure, end: Structure, centers: StereoCenters, differs: Tensor, groups: list[tuple[int, ...]]
) -> None:
    """Raise for a center whose neighbors are all distinct and whose handedness differs."""
    movable = {i for group in groups for i in group}
    for atom, around, different in zip(centers.atoms, centers.neighbors, differs.tolist(), strict=True):
        if different and not movable & set(around):
            raise _chirality_error(start, end, start.topology, atom)


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


def _bond_notes(start: Structure, end: Structure, order: Order) -> tuple[str, ...]:
    """Tell about bonds that only one of the files knows."""
    place = {j: i for i, j in enumerate(order)}
    mapped = {tuple(sorted((place[i], place[j]))) for i, j in end.topology.bonds}
    notes = []
    for here, bonds in ((start, set(start.topology.bonds) - mapped), (end, mapped - set(start.topology.bonds))):
        if bonds:
            i, j = min(bonds)
            atoms = start.topology.atoms
            notes.append(
                f"{len(bonds)} bonds are known only from {here.source} (first: {atoms[i].label} - {atoms[j].label}); "
                f"those of {start.source} are used."
            )
    return tuple(notes)

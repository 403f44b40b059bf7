"""Finds, for every atom of the start, the same atom of the end.

1. Atoms are matched by name: first by chain, residue and atom name, then by fewer and fewer of these labels. If names
   give no one-to-one map, atoms are matched by the bond graph (color refinement and a search). If the residues of
   both files have the same order, each residue is matched with its counterpart, so that equal molecules (water) keep
   their order. Otherwise the whole graph is searched, and many equal molecules without common names are refused.
2. Equivalent atoms (methyl hydrogens, sides of a phenyl ring, carboxylate oxygens, NH2 and NH3 hydrogens, methyl groups
   of valine ...) are relabeled so that torsions turn least on the path; between equally good labels the RMSD after
   superposition decides. The atoms fall into independent units, and the symmetries of each unit are enumerated.
3. Only relabelings that give every tetrahedral center the same handedness in both ends are allowed, methyl groups
   included: on a path between opposite orders of their hydrogens, one hydrogen would have to pass through another.
   A center whose handedness differs under every relabeling has swapped chirality.

With `equivalent_atoms="keep"` step 2 is left out and the labels of both files are used, so that a path may exchange
equivalent atoms (the flip of a cyclohexane chair or of a tyrosine ring, the turn of a methyl group by 120 degrees).

The order of the start is never changed; the map reorders the end.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from tpsctl.endpoints.relabel import best_relabeling, require_same_handedness
from tpsctl.endpoints.structure import Structure, how_to_state_bonds, ordinals, residue_ordinals
from tpsctl.errors import EndpointError
from tpsctl.molecule.geometry import rmsd
from tpsctl.molecule.graph import Order, first_isomorphism
from tpsctl.molecule.topology import Atom, Topology

EquivalentAtoms = Literal["relabel", "keep"]


@dataclass(frozen=True)
class AtomMap:
    """Result of `match`.

    Attributes:
        order: `end.x[list(order)]` is in the start's order.
        method: "name", "order" (by bonds, residue by residue) or "graph" (by bonds alone).
        renamed: (start label, end label) of atoms whose partner has another label.
        equivalent_atoms: "relabel", or "keep" if equivalent atoms kept the labels of the files.
        rmsd_by_label_nm: RMSD after superposition, before equivalent atoms were relabeled, nm.
        rmsd_nm: RMSD after superposition, after equivalent atoms were relabeled, nm.
        notes: Notes for the user, one sentence each.
    """

    order: Order
    method: str
    renamed: tuple[tuple[str, str], ...]
    rmsd_by_label_nm: float
    rmsd_nm: float
    equivalent_atoms: EquivalentAtoms = "relabel"
    notes: tuple[str, ...] = ()


def match(start: Structure, end: Structure, *, equivalent_atoms: EquivalentAtoms = "relabel") -> AtomMap:
    """Find the map of the end's atoms onto the start's.

    Args:
        start: The structure whose order is kept.
        end: The structure whose atoms are mapped.
        equivalent_atoms: "relabel" equivalent atoms, or "keep" the labels of the files.

    Raises:
        EndpointError: The atoms differ, hydrogens are missing, a chirality is swapped, or the map is ambiguous.
    """
    _require_same_composition(start, end)
    base, method = _match_by_name(start.topology, end.topology), "name"
    if base is None:
        base, method = _match_by_graph(start, end)
    if equivalent_atoms == "keep":
        require_same_handedness(start, end, base)
        order = base
    else:
        order = best_relabeling(start, end, base, by_graph=method != "name", residues_kept=method != "graph")
    ours, theirs = start.topology.atoms, end.topology.atoms
    renamed = tuple(
        (a.label, theirs[j].label)
        for a, j, j_by_name in zip(ours, order, base, strict=True)
        if (j != j_by_name if method == "name" else a.name != theirs[j].name)
    )
    return AtomMap(
        order=order,
        method=method,
        renamed=renamed,
        rmsd_by_label_nm=float(rmsd(end.x[list(base)], start.x)),
        rmsd_nm=float(rmsd(end.x[list(order)], start.x)),
        equivalent_atoms=equivalent_atoms,
        notes=(*_relabeling_note(end, renamed, method), *_bond_notes(start, end, order)),
    )


def _relabeling_note(end: Structure, renamed: Sequence[tuple[str, str]], method: str) -> tuple[str, ...]:
    """A note about equivalent atoms whose new labels differ from their names in the file."""
    if method != "name" or not renamed:
        return ()
    shown = ", ".join(f"{ours} = {theirs}" for ours, theirs in renamed[:6]) + (", ..." if len(renamed) > 6 else "")
    return (
        f"{end.source}: {len(renamed)} equivalent atoms were relabeled ({shown}), so that the path turns as little as "
        "possible; endpoints.equivalent_atoms: keep leaves the labels as they are.",
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
                f"{extra[0].label}). Add them (tpsctl prepare IN OUT), or set endpoints.select."
            )
    first = f"{start.source} has {only_start[0].label}" if only_start else f"{end.source} has {only_end[0].label}"
    raise EndpointError(
        f"endpoints {start.source} and {end.source} differ: {counts} (first mismatch: {first}). "
        "Use the same topology or set endpoints.select."
    )


def _unmatched(atoms: Sequence[Atom], others: Sequence[Atom]) -> list[Atom]:
    """Atoms that have no partner among `others`, first by residue number and name, then by element."""
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
    """Map by the strictest labels that are one-to-one, agree in elements and keep the bonds; None if there is none."""
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
    """Lists of labels, one per atom, from the strictest kind of label to the loosest."""
    chains = ordinals([a.chain_id for a in topology.atoms])
    residues = residue_ordinals(topology)
    rows = list(zip(topology.atoms, chains, residues, strict=True))
    return [
        [(a.chain_id, a.residue_id, a.insertion_code, a.residue_name, a.name) for a, _, _ in rows],
        [(c, a.residue_id, a.insertion_code, a.residue_name, a.name) for a, c, _ in rows],
        [(r, a.name) for a, _, r in rows],
    ]


def _keeps_bonds(start: Topology, end: Topology, order: Order) -> bool:
    mapped = {tuple(sorted((order[i], order[j]))) for i, j in start.bonds}
    return mapped == set(end.bonds)


def _match_by_graph(start: Structure, end: Structure) -> tuple[Order, str]:
    """Any map that keeps elements and bonds, and the method that found it.

    The method is "order" if residues could be matched one by one in their order, and "graph" otherwise.
    """
    for structure in (start, end):
        _require_unique_names(structure)
        loose = [i for i, n in enumerate(structure.topology.neighbors) if not n]
        if loose and structure.topology.n_atoms > 1:
            raise EndpointError(
                f"endpoints {start.source} and {end.source}: atom names differ, and the atoms cannot be matched by "
                f"bonds because {len(loose)} atoms of {structure.source} have none (first: "
                f"{structure.topology.atoms[loose[0]].label}). Use the same names in both files. "
                f"{how_to_state_bonds(structure.source)}"
            )
    for method, with_residues in (("order", True), ("graph", False)):
        labels = [
            [(a.element, r if with_residues else 0) for a, r in zip(t.atoms, residue_ordinals(t), strict=True)]
            for t in (start.topology, end.topology)
        ]
        found = first_isomorphism(start.topology.neighbors, end.topology.neighbors, labels[0], labels[1])
        if found is not None:
            return found, method
    raise EndpointError(
        f"endpoints {start.source} and {end.source}: the same elements, but neither names nor bonds agree "
        f"({len(start.topology.bonds)} vs {len(end.topology.bonds)} bonds). They are different molecules, tautomers or "
        "protonation states. Use one topology for both ends."
    )


def _require_unique_names(structure: Structure) -> None:
    """Raise if an atom without bonds shares its name with another atom of its residue, so that it is ambiguous."""
    topology = structure.topology
    counts = Counter(label_keys(topology)[2])
    for key, atom, around in zip(label_keys(topology)[2], topology.atoms, topology.neighbors, strict=True):
        if counts[key] > 1 and not around:
            raise EndpointError(
                f"{structure.source}: {counts[key]} atoms are named {atom.label}, and without bonds only the names "
                "tell them apart. Give every atom of a residue a name of its own."
            )


def _bond_notes(start: Structure, end: Structure, order: Order) -> tuple[str, ...]:
    """A note for each file about bonds that only this file has."""
    place = {j: i for i, j in enumerate(order)}
    mapped = {tuple(sorted((place[i], place[j]))) for i, j in end.topology.bonds}
    notes = []
    for here, bonds in ((start, set(start.topology.bonds) - mapped), (end, mapped - set(start.topology.bonds))):
        if bonds:
            i, j = min(bonds)
            atoms = start.topology.atoms
            notes.append(
                f"{len(bonds)} bonds are known only from {here.source} (first: {atoms[i].label} - {atoms[j].label}); "
                f"the bonds of {start.source} are used."
            )
    return tuple(notes)

"""One structure in memory: its beads, bonds and positions, with notes for the user; and checks of its positions."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import EndpointError
from tpsctl.molecule.neighbors import close_pairs
from tpsctl.molecule.topology import Topology

LONGEST_BOND_NM = 0.35
"""Longest covalent bond between atoms (I-I: 0.27 nm); a longer one means that a box cuts the molecule."""

LONGEST_BEAD_BOND_NM = 0.6
"""Longest bond between consecutive C-alpha beads, which are 0.38 nm apart."""

SHORTEST_BOND_NM = 0.05
"""Shortest covalent bond (H-H: 0.074 nm)."""

USUAL_BOND_NM = 0.13
"""Usual bond length, between C-H (0.109) and C-C (0.154 nm): at least half of a molecule's bonds differ from it by less
than a factor of two."""

USUAL_BEAD_BOND_NM = 0.38
"""Distance of consecutive C-alpha atoms."""

CLOSEST_NM = 0.03
"""Two atoms closer than this are at the same place: no two nuclei are (H-H is 0.074 nm)."""

_WRONG_UNIT = 4.0
"""Bonds that are shorter or longer than usual by this factor are in another unit; nm and angstrom differ by 10."""


@dataclass(frozen=True)
class Structure:
    """A molecule with positions.

    Attributes:
        topology: Beads and bonds, in file order.
        x: Positions (bead, 3), nm, float64.
        source: File and frame that it came from, for messages, e.g. "c7eq.pdb" or "md.xtc frame 12".
        notes: Notes for the user, one sentence each, e.g. about residues without known bonds.
    """

    topology: Topology
    x: Float[Tensor, "bead 3"]
    source: str
    notes: tuple[str, ...] = ()


def require_sound(structure: Structure) -> Structure:
    """Check the positions of a structure, and return the structure.

    Raises:
        EndpointError: A coordinate is NaN or infinite, two atoms coincide, the unit of length is wrong, or a bond is
            too short or too long (a periodic box cuts the molecule).
    """
    _require_finite(structure)
    lengths = _bond_lengths(structure)
    _require_usual_unit(structure, lengths)
    atoms, source = structure.topology.atoms, structure.source
    for (i, j), length in zip(structure.topology.bonds, lengths.tolist(), strict=True):
        longest = LONGEST_BEAD_BOND_NM if _is_bead_bond(structure.topology, i, j) else LONGEST_BOND_NM
        if length > longest:
            raise EndpointError(
                f"{source}: bond {atoms[i].label} - {atoms[j].label} is {length:.3f} nm long, expected at most "
                f"{longest} nm. The molecule is cut by a periodic box or has a wrong bond: make it whole "
                "(e.g. `gmx trjconv -pbc whole`), mend the bonds that the file states, or, where one chain ends and "
                "another begins, separate them by TER or by chain identifiers."
            )
        if length < 1e-3:
            raise EndpointError(
                f"{source}: atoms {atoms[i].label} and {atoms[j].label} are at the same place ({length:.4f} nm apart). "
                "Mend the file, e.g. by rebuilding one of them."
            )
        if length < SHORTEST_BOND_NM:
            raise EndpointError(
                f"{source}: bond {atoms[i].label} - {atoms[j].label} is {length:.4f} nm long, expected at least "
                f"{SHORTEST_BOND_NM} nm. Mend the file, e.g. by rebuilding one of the two atoms."
            )
    _require_apart(structure)
    return structure


def _require_finite(structure: Structure) -> None:
    atoms, x = structure.topology.atoms, structure.x
    bad = (~torch.isfinite(x).all(-1)).nonzero().flatten().tolist()
    if bad:
        place = tuple(round(v, 4) for v in x[bad[0]].tolist())
        raise EndpointError(
            f"{structure.source}: {len(bad)} of {len(atoms)} atoms have no finite position (first: "
            f"{atoms[bad[0]].label} at {place} nm). Mend or re-export the file."
        )


def _require_apart(structure: Structure) -> None:
    """Raise if two atoms, bonded or not, have the same position or nearly so."""
    places, place = torch.unique(structure.x, dim=0, return_inverse=True)
    if len(places) < len(structure.x):
        first: dict[int, int] = {}
        found = ((first.setdefault(number, i), i) for i, number in enumerate(place.tolist()))
        one, other = (structure.topology.atoms[i].label for i in next(pair for pair in found if pair[0] != pair[1]))
        raise EndpointError(
            f"{structure.source}: atoms {one} and {other} are at the same place, and {len(places)} places hold "
            f"{len(structure.x)} atoms. Mend the file, e.g. by deleting what it holds twice."
        )
    close = close_pairs(structure.x.numpy(), CLOSEST_NM)
    if len(close):
        one, other = (structure.topology.atoms[i] for i in close[0])
        distance = float((structure.x[close[0][0]] - structure.x[close[0][1]]).norm())
        more = f" ({len(close)} such pairs)" if len(close) > 1 else ""
        raise EndpointError(
            f"{structure.source}: atoms {one.label} and {other.label} are {distance:.4f} nm apart{more}, expected at "
            f"least {CLOSEST_NM} nm. Mend the file, e.g. by rebuilding one of the two atoms or deleting what it holds "
            "twice."
        )


def _bond_lengths(structure: Structure) -> Float[Tensor, " bond"]:
    if not structure.topology.bonds:
        return structure.x.new_zeros(0)
    i, j = torch.tensor(structure.topology.bonds).unbind(1)
    return (structure.x[i] - structure.x[j]).norm(dim=-1)


def _is_bead_bond(topology: Topology, i: int, j: int) -> bool:
    return all(topology.atoms[k].name == "CA" and topology.atoms[k].element == "C" for k in (i, j))


def _require_usual_unit(structure: Structure, lengths: Tensor) -> None:
    """Raise if the lengths of bonds show that positions are not in the format's unit of length.

    Without bonds, the distances of nearest neighbors are used.
    """
    topology = structure.topology
    if len(lengths):
        usual = [USUAL_BEAD_BOND_NM if _is_bead_bond(topology, i, j) else USUAL_BOND_NM for i, j in topology.bonds]
        what, found = "bonds", lengths / lengths.new_tensor(usual)
        middle = float(lengths.median())
    elif 3 <= topology.n_atoms <= 5000:
        nearest = (
            torch.cdist(structure.x, structure.x) + torch.eye(topology.n_atoms, dtype=structure.x.dtype) * 1e9
        ).amin(1)
        what, found = "nearest neighbors", (nearest / USUAL_BOND_NM).clamp_min(1e-3)
        found, middle = found.clamp_max(1.0), float(nearest.median())  # atoms without bonds may be far apart
    else:
        return
    ratio = float(found.median())
    all_short = ratio > 1e-2 and float(found.quantile(0.9)) < 1 / _WRONG_UNIT
    if all_short or float(found.quantile(0.1)) > _WRONG_UNIT:
        times, how = (1 / ratio, "short") if ratio < 1 else (ratio, "long")
        raise EndpointError(
            f"{structure.source}: the {what} are {times:.0f} times too {how} (median {middle:.4f} nm, expected about "
            f"{middle / ratio:.2f} nm): the unit of length is wrong{_likely_unit(structure.source, how)}. "
            f"{'Multiply' if how == 'short' else 'Divide'} the coordinates by 10, or write the file anew."
        )


def how_to_state_bonds(source: str) -> str:
    """A sentence that says how a file of this name states bonds."""
    extension = _extension_of(source)
    if extension in ("cif", "mmcif", "pdbx"):
        return "State them in the tables struct_conn or chem_comp_bond of the file."
    if extension == "gro":
        return "GRO holds no bonds: write the structure as PDB with CONECT records."
    return "Add CONECT records." if extension in ("pdb", "ent") else "Write the structure as PDB with CONECT records."


def _extension_of(source: str) -> str:
    return source.partition(" frame ")[0].lower().removesuffix(".gz").rpartition(".")[2]


def _likely_unit(source: str, how: str) -> str:
    """Phrase for the message that names the unit which was probably written, "" if no unit explains the lengths."""
    extension = _extension_of(source)
    if how == "short" and extension in ("pdb", "ent", "cif", "mmcif", "pdbx", "dcd"):
        return "; the coordinates seem to be in nm where the format has angstrom"
    if how == "long" and extension in ("gro", "xtc", "trr"):
        return "; the coordinates seem to be in angstrom where the format has nm"
    return ""


def ordinals(values: Sequence[Hashable]) -> list[int]:
    """Number the runs of equal consecutive values from 0, and return the number of every item's run."""
    numbers: list[int] = []
    for i, value in enumerate(values):
        numbers.append(0 if i == 0 else numbers[-1] + (value != values[i - 1]))
    return numbers


def residue_ordinals(topology: Topology) -> list[int]:
    """Index of the residue of every atom, counted from 0 along the topology."""
    return ordinals([(a.chain_id, a.residue_id, a.insertion_code, a.residue_name) for a in topology.atoms])

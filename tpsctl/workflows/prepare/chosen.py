"""The atoms of a structure file that are kept: one location of each, with solvent taken out if wanted.

Where a file has alternate locations, consecutive residues that have them share one choice, because neighbors move
together: the letter with the largest sum of occupancies, and the first letter of the alphabet among equals. An atom
without the chosen letter keeps its own location of the highest occupancy.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from tpsctl.errors import EndpointError
from tpsctl.molecule.elements import is_water
from tpsctl.molecule.solvent import IONS
from tpsctl.workflows.prepare.changes import Change, Place


def read_with_gemmi(file: Path) -> Any:
    """A PDB or mmCIF file as a `gemmi.Structure`.

    Raises:
        EndpointError: The file cannot be read, or it holds no atoms.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(file))
    except (OSError, RuntimeError, ValueError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise EndpointError(f"{file}: cannot be read as PDB or mmCIF ({text}). Give a structure file.") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise EndpointError(f"{file}: holds no atoms. Give a structure file in PDB or mmCIF format.")
    return structure


def keep_first_model(structure: Any) -> list[Change]:
    """Remove all models but the first."""
    left_out = len(structure) - 1
    while len(structure) > 1:
        del structure[-1]
    return [Change(None, f"kept the first of {left_out + 1} models")] if left_out else []


def keep_one_location(structure: Any) -> Iterator[Change]:
    """Remove all alternate locations but one; a change for every residue that had some."""
    for chain in structure[0]:
        yield from _one_residue_per_place(chain)
        residues = list(chain)
        for alternate, run in groupby(residues, key=_has_alternates):
            if alternate:
                yield from _one_letter(chain.name, list(run))


def remove_solvent(structure: Any, *, water: bool, ions: bool) -> Iterator[Change]:
    """Remove water and single ions, as far as wanted."""
    for chain in structure[0]:
        for k in reversed(range(len(chain))):
            residue = chain[k]
            name = residue.name.strip().upper()
            if (water and is_water(name)) or (ions and name in IONS and len(residue) == 1):
                yield Change(gemmi_place(chain.name, residue), "removed")
                del chain[k]


def require_buildable(structure: Any, source: Path) -> None:
    """Refuse what cannot be repaired without guessing: two atoms of one name, and amino acids without a backbone.

    Raises:
        EndpointError: The first such residue, and what to do.
    """
    for chain in structure[0]:
        for residue in chain:
            place, names = gemmi_place(chain.name, residue), [atom.name for atom in residue]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise EndpointError(
                    f"{source}: {place} has more than one atom named {', '.join(twice)}, and no alternate locations. "
                    "Rename or remove one of them."
                )
            lacking = [name for name in ("N", "CA", "C") if name not in names]
            if lacking and is_amino_acid(residue):
                raise EndpointError(
                    f"{source}: {place} lacks {', '.join(lacking)} of its backbone, which is too little to build the "
                    "rest on. Reconstruct the backbone with another program first, or take the residue out."
                )


def is_amino_acid(residue: Any) -> bool:
    """Whether a residue of gemmi is an amino acid, and not a cap."""
    import gemmi

    return (
        residue.name not in ("ACE", "NME", "NMA", "NH2") and gemmi.find_tabulated_residue(residue.name).is_amino_acid()
    )


def _one_residue_per_place(chain: Any) -> Iterator[Change]:
    """Where two kinds of residues share a number, keep the one of the highest occupancy."""
    unwanted: list[int] = []
    for _, same in groupby(range(len(chain)), key=lambda k: str(chain[k].seqid)):
        numbers = list(same)
        if len(numbers) > 1 and all(_has_alternates(chain[k]) for k in numbers):
            best = max(numbers, key=lambda k: (_occupancy(chain[k]), -k))
            gone = [chain[k].name for k in numbers if k != best]
            yield Change(
                gemmi_place(chain.name, chain[best]),
                f"kept {chain[best].name} (mean occupancy {_occupancy(chain[best]):.2f}), removed its alternate "
                f"{', '.join(gone)}",
            )
            unwanted += [k for k in numbers if k != best]
    for k in reversed(unwanted):
        del chain[k]


def _occupancy(residue: Any) -> float:
    return sum(atom.occ for atom in residue) / len(residue)


def _has_alternates(residue: Any) -> bool:
    return any(atom.has_altloc() for atom in residue)


def _one_letter(chain: str, residues: list[Any]) -> Iterator[Change]:
    weights: dict[str, float] = defaultdict(float)
    for residue in residues:
        for atom in residue:
            if atom.has_altloc():
                weights[atom.altloc] += atom.occ
    letter = min(weights, key=lambda a: (-weights[a], a))
    for residue in residues:
        kept = _locations(residue, letter)
        gone = sorted({atom.altloc for k, atom in enumerate(residue) if k not in kept})
        names = list(dict.fromkeys(atom.name for atom in residue if atom.has_altloc()))
        for k in reversed(range(len(residue))):
            if k not in kept:
                del residue[k]
        for atom in residue:
            atom.altloc = "\0"
        if gone:
            text = f"kept location {letter} of {', '.join(names)}, removed {', '.join(gone)}"
            yield Change(gemmi_place(chain, residue), text)


def _locations(residue: Any, letter: str) -> set[int]:
    """Numbers of the atoms that stay: of each name the location with the letter, or else the most occupied one."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for k, atom in enumerate(residue):
        by_name[atom.name].append(k)
    kept = set()
    for same in by_name.values():
        if any(residue[k].has_altloc() for k in same):
            kept.add(max(same, key=lambda k: (residue[k].altloc == letter, residue[k].occ, -k)))
        else:
            kept.update(same)
    return kept


def gemmi_place(chain: str, residue: Any) -> Place:
    """The place of a residue of gemmi."""
    return Place(chain, residue.name, residue.seqid.num, residue.seqid.icode.strip())

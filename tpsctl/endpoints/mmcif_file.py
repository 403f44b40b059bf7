"""mmCIF files; gemmi reads their syntax.

CIF is a language (quotes, text blocks, loops or single items, any order of columns), and gemmi reads it exactly;
MDTraj's reader refuses some valid files. Only the tables are taken from gemmi, because its own structures collect
all atoms of a chain in one place, so the order of the file would be lost.

Papers, PDB files and users refer to author names and numbers (`auth_...`), so these are preferred.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tpsctl.endpoints.contents import Bond, Contents, FileAtom, box_from_cell
from tpsctl.errors import EndpointError
from tpsctl.units import NM_PER_ANGSTROM

_COVALENT = ("covale", "disulf", "modres")


class _Table:
    """One category of a block, as columns of text; an entry that is unknown or does not apply is ""."""

    def __init__(self, block: Any, category: str) -> None:
        self._columns: dict[str, list[Any]] = block.get_mmcif_category(f"_{category}.")
        self.rows = max((len(column) for column in self._columns.values()), default=0)

    def column(self, *names: str) -> list[str]:
        """For every row, the first entry of these columns that is not empty."""
        found = [self._columns[name] for name in names if name in self._columns]
        if not found:
            return [""] * self.rows
        if len(found) == 1:
            return [value or "" for value in found[0]]
        return [next((value for value in row if value), "") for row in zip(*found, strict=True)]


def read_mmcif_file(path: Path, text: str) -> Contents:
    """Read all models of the first block that has atoms.

    Raises:
        EndpointError: The file is not valid CIF, a number cannot be read, or the models have different atoms.
    """
    from gemmi import cif

    try:
        document = cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        reason = str(error).replace("\n", " ").removeprefix("string:").strip()
        raise EndpointError(
            f"{path}: is no valid CIF file ({reason}). It may be cut short: get or write it anew."
        ) from None
    block = next((block for block in document if block.get_mmcif_category("_atom_site.")), None)
    if block is None:
        if any(block.find_values("_atom_site_fract_x") for block in document):
            raise EndpointError(
                f"{path}: is a CIF file of a crystal, with fractional coordinates and no residues, expected mmCIF. "
                "Write the molecule as PDB or mmCIF."
            )
        return Contents((), np.empty((0, 0, 3)))
    sites = _Table(block, "atom_site")
    models = _models(path, sites)
    rows = models[0]
    atoms = _atoms(path, sites, rows)
    for model in models[1:]:
        others = _atoms(path, sites, model)
        pairs = zip(atoms, others, strict=False)
        differing = next((pair for pair in pairs if _identity(pair[0]) != _identity(pair[1])), None)
        if differing or len(others) != len(atoms):
            first = f"; first: {differing[0].label} and {differing[1].label}" if differing else ""
            raise EndpointError(
                f"{path}: the models have different atoms ({len(rows)} and {len(model)}{first}). "
                "Give models of one molecule, or a file with the one model."
            )
    columns = [_numbers(path, f"Cartn_{axis}", sites.column(f"Cartn_{axis}")) for axis in "xyz"]
    x = np.stack(columns, axis=1) * NM_PER_ANGSTROM
    bonds = {*_connections(block, sites, rows), *_bonds_of_components(block, atoms)}
    return Contents(atoms, np.stack([x[model] for model in models]), tuple(sorted(bonds)), _box(block))


def _identity(atom: FileAtom) -> tuple[object, ...]:
    """What an atom shares with its copies in other models."""
    return (*atom[:5], atom.alternate)


def _models(path: Path, sites: _Table) -> list[list[int]]:
    models: dict[str, list[int]] = {}
    for i, number in enumerate(sites.column("pdbx_PDB_model_num")):
        models.setdefault(number, []).append(i)
    if not models:
        raise EndpointError(f"{path}: its table of atoms has no rows. Give a structure with at least one atom.")
    return list(models.values())


def _numbers(path: Path, name: str, column: Sequence[str]) -> np.ndarray:
    """A column of numbers; the uncertainty in brackets that CIF allows is ignored."""
    try:
        return np.array([_number(text) for text in column])
    except ValueError:
        wrong = next(text for text in column if not _is_number(text))
        raise EndpointError(f'{path}: atom_site.{name}: found "{wrong}", expected a number (angstrom).') from None


def _number(text: str) -> float:
    if "_" in text:
        raise ValueError("only Python takes an underscore inside a number")
    return float(text.partition("(")[0])


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _atoms(path: Path, sites: _Table, rows: list[int]) -> tuple[FileAtom, ...]:
    columns = [
        sites.column("auth_atom_id", "label_atom_id"),
        sites.column("auth_comp_id", "label_comp_id"),
        sites.column("auth_seq_id", "label_seq_id"),
        sites.column("pdbx_PDB_ins_code"),
        sites.column("auth_asym_id", "label_asym_id"),
        sites.column("label_asym_id"),
        sites.column("type_symbol"),
        sites.column("label_alt_id"),
    ]
    atoms = []
    part, before = -1, ("", "")
    for i in rows:
        name, residue, number, code, chain, label_chain, element, alternate = (column[i] for column in columns)
        if (chain, label_chain) != before or part < 0:
            part, before = part + 1, (chain, label_chain)
        try:
            residue_id = int(number)
        except ValueError:
            raise EndpointError(
                f'{path}: atom {residue}:{name} has the residue number "{number}", expected a whole number. '
                "Fill atom_site.auth_seq_id."
            ) from None
        atoms.append(FileAtom(name, residue, residue_id, code, chain, part, element, alternate))
    return tuple(atoms)


def _connections(block: Any, sites: _Table, rows: list[int]) -> list[Bond]:
    """Covalent bonds of struct_conn; bonds to a symmetry copy are left out.

    Atoms are found by author identifiers, or by label identifiers if the author's are missing.
    """
    bonds = []
    table = _Table(block, "struct_conn")
    if not table.rows:
        return []
    kinds = table.column("conn_type_id")
    symmetry = [table.column(f"ptnr{k}_symmetry") for k in (1, 2)]
    for names, ours in (
        (("auth_asym_id", "auth_seq_id", "label_atom_id"), ("auth_asym_id", "auth_seq_id", "label_atom_id")),
        (("label_asym_id", "label_seq_id", "label_atom_id"), ("label_asym_id", "label_seq_id", "label_atom_id")),
    ):
        code = sites.column("pdbx_PDB_ins_code")
        places: dict[tuple[str, ...], int] = {}
        columns = [sites.column(name) for name in ours]
        for index, row in enumerate(rows):
            places.setdefault((*(column[row] for column in columns), code[row]), index)
        ends = []
        for k in (1, 2):
            keys = [table.column(f"ptnr{k}_{name}") for name in names]
            ends.append(list(zip(*keys, table.column(f"pdbx_ptnr{k}_PDB_ins_code"), strict=True)))
        for row, (one, other) in enumerate(zip(*ends, strict=True)):
            if kinds[row][:6] not in _COVALENT or symmetry[0][row] != symmetry[1][row]:
                continue
            if one in places and other in places and one != other:
                i, j = places[one], places[other]
                bonds.append((min(i, j), max(i, j)))
        if bonds:
            break
    return bonds


def _bonds_of_components(block: Any, atoms: tuple[FileAtom, ...]) -> list[Bond]:
    """Bonds that the file states for all residues of one name (chem_comp_bond)."""
    table = _Table(block, "chem_comp_bond")
    of_residue: dict[str, list[tuple[str, str]]] = {}
    for residue, one, other in zip(*map(table.column, ("comp_id", "atom_id_1", "atom_id_2")), strict=True):
        of_residue.setdefault(residue, []).append((one, other))
    bonds: list[Bond] = []
    if not of_residue:
        return bonds
    for residue in Contents(atoms, np.empty((0, len(atoms), 3))).residues():
        pairs = of_residue.get(atoms[residue[0]].residue_name, ())
        place = {atoms[i].name: i for i in residue} if pairs else {}
        for one, other in pairs:
            if one in place and other in place:
                bonds.append((min(place[one], place[other]), max(place[one], place[other])))
    return bonds


def _box(block: Any) -> np.ndarray | None:
    cell = _Table(block, "cell")
    try:
        a, b, c = (float(cell.column(f"length_{axis}")[0]) * NM_PER_ANGSTROM for axis in "abc")
        alpha, beta, gamma = (float(cell.column(f"angle_{name}")[0]) for name in ("alpha", "beta", "gamma"))
    except (ValueError, IndexError):
        return None
    return box_from_cell((a, b, c), (alpha, beta, gamma))

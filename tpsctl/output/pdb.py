"""PDB and mmCIF files that keep every name and number as given.

PDB has fixed columns: 4 characters for an atom name, 4 for a residue name (the fourth by custom), one for a chain, and
room for 9999 residues and 99999 atoms. Nothing is cut to fit: `fits_pdb` says whether everything fits, and if not, the
caller writes mmCIF. Several frames become several models. Bonds that readers do not know from a residue's name (between
coarse-grained beads, in ligands and caps) are written as CONECT records.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tpsctl.molecule.topology import Atom, Topology

Frames = Float[np.ndarray, "frame atom 3"]

_POLYMER_RESIDUES = frozenset(
    # fmt: off
    [
        "ALA",
        "ARG",
        "ASN",
        "ASP",
        "CYS",
        "GLN",
        "GLU",
        "GLY",
        "HIS",
        "ILE",
        "LEU",
        "LYS",
        "MET",
        "PHE",
        "PRO",
        "SER",
        "THR",
        "TRP",
        "TYR",
        "VAL",
        "ASH",
        "CYM",
        "CYX",
        "GLH",
        "HID",
        "HIE",
        "HIP",
        "LYN",
        "A",
        "C",
        "G",
        "U",
        "DA",
        "DC",
        "DG",
        "DT",
    ]
    # fmt: on
)
_MMCIF_COLUMNS = (
    # fmt: off
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_comp_id",
    "auth_asym_id",
    "auth_atom_id",
    "pdbx_PDB_model_num",
    # fmt: on
)
_PARTNER_COLUMNS = (
    "ptnr{}_label_asym_id",
    "ptnr{}_label_comp_id",
    "ptnr{}_label_seq_id",
    "ptnr{}_label_atom_id",
    "ptnr{}_auth_asym_id",
    "ptnr{}_auth_comp_id",
    "ptnr{}_auth_seq_id",
    "pdbx_ptnr{}_PDB_ins_code",
)
_BOND_COLUMNS = ("id", "conn_type_id", *(name.format(k) for k in (1, 2) for name in _PARTNER_COLUMNS))


def fits_pdb(topology: Topology, x_angstrom: Frames) -> bool:
    """Whether the columns of PDB hold all names, numbers and coordinates (angstrom)."""
    return (
        topology.n_atoms <= 99999
        and all(_atom_fits(atom) for atom in topology.atoms)
        and bool((x_angstrom > -999.9995).all() and (x_angstrom < 9999.9995).all())
    )


def pdb_text(topology: Topology, x_angstrom: Frames, *, title: str) -> str:
    """The text of a PDB file with positions in angstrom; several frames become models 1, 2, ..."""
    before, after = zip(*(_pdb_columns(i, atom) for i, atom in enumerate(topology.atoms)), strict=True)
    ends = [a.chain_id != b.chain_id for a, b in pairwise(topology.atoms)] + [True]
    many = len(x_angstrom) > 1
    lines = [f"TITLE     {title}"]
    for model, frame in enumerate(x_angstrom.tolist(), start=1):
        lines += [f"MODEL     {model:4d}"] if many else []
        for start, (x, y, z), rest, chain_ends in zip(before, frame, after, ends, strict=True):
            lines.append(f"{start}{x:8.3f}{y:8.3f}{z:8.3f}{rest}")
            if chain_ends:
                lines.append("TER")
        lines += ["ENDMDL"] if many else []
    return "\n".join([*lines, *_conect(_bonds_to_tell(topology)), "END", ""])


def mmcif_text(topology: Topology, x_angstrom: Frames, *, title: str) -> str:
    """The text of an mmCIF file with all bonds and positions in angstrom; several frames become models 1, 2, ..."""
    numbers = _label_numbers(topology)
    before, after = zip(
        *(
            _mmcif_columns(i, atom, number)
            for i, (atom, number) in enumerate(zip(topology.atoms, numbers, strict=True))
        ),
        strict=True,
    )
    lines = ["data_tpsctl", f"_struct.title {_quoted(title)}", "loop_"]
    lines += [f"_atom_site.{name}" for name in _MMCIF_COLUMNS]
    for model, frame in enumerate(x_angstrom.tolist(), start=1):
        lines += [
            f"{start} {x:.5f} {y:.5f} {z:.5f} {rest} {model}"
            for start, (x, y, z), rest in zip(before, frame, after, strict=True)
        ]
    if topology.bonds:
        lines += ["#", "loop_", *(f"_struct_conn.{name}" for name in _BOND_COLUMNS)]
        lines += [
            f"bond{n} covale {_mmcif_partner(topology.atoms[i], numbers[i])} "
            f"{_mmcif_partner(topology.atoms[j], numbers[j])}"
            for n, (i, j) in enumerate(topology.bonds, start=1)
        ]
    return "\n".join([*lines, "#", ""])


Identity = tuple[str, str, int, str, str]
"""Atom name, residue name, residue number, insertion code and chain of one atom, as a file keeps them."""


def identities(topology: Topology) -> list[Identity]:
    """The identity of every atom, which a file must give again when it is read."""
    return [(a.name, a.residue_name, a.residue_id, a.insertion_code, a.chain_id.strip()) for a in topology.atoms]


def read_pdb(file: Path) -> tuple[list[Identity], Frames]:
    """Names, numbers and positions, angstrom, of a file that `pdb_text` made."""
    models: list[list[str]] = [[]]
    for line in file.read_text(encoding="ascii").splitlines():
        if line.startswith("MODEL") and models[-1]:
            models.append([])
        elif line.startswith(("ATOM", "HETATM")):
            models[-1].append(line)
    found = [
        (line[12:16].strip(), line[17:21].strip(), int(line[22:26]), line[26].strip(), line[21].strip())
        for line in models[0]
    ]
    return found, np.array([[(line[30:38], line[38:46], line[46:54]) for line in model] for model in models], float)


def read_mmcif(file: Path) -> tuple[list[Identity], Frames]:
    """Names, numbers and positions, angstrom, of a file that `mmcif_text` made, its table read by gemmi."""
    from gemmi import cif

    columns = cif.read(str(file)).sole_block().get_mmcif_category("_atom_site.")
    names = [
        columns[name] for name in ("auth_atom_id", "auth_comp_id", "auth_seq_id", "pdbx_PDB_ins_code", "auth_asym_id")
    ]
    rows = [
        (name, residue, int(number), code or "", chain or "")
        for name, residue, number, code, chain in zip(*names, strict=True)
    ]
    model = np.array(columns["pdbx_PDB_model_num"], int)
    n_atoms = int((model == 1).sum())
    x = np.array([columns[f"Cartn_{axis}"] for axis in "xyz"], float).T
    return rows[:n_atoms], x.reshape(-1, n_atoms, 3)


def _atom_fits(atom: Atom) -> bool:
    printable = (atom.name + atom.residue_name + atom.chain_id + atom.insertion_code).isascii()
    return (
        printable
        and 1 <= len(atom.name) <= 4
        and 1 <= len(atom.residue_name) <= 4
        and len(atom.chain_id) <= 1
        and len(atom.insertion_code) <= 1
        and len(atom.element) <= 2
        and -999 <= atom.residue_id <= 9999
    )


def _pdb_columns(index: int, atom: Atom) -> tuple[str, str]:
    """Columns before and after the coordinates. Names of one-letter elements start one column later."""
    kind = "ATOM  " if atom.residue_name in _POLYMER_RESIDUES else "HETATM"
    name = f"{atom.name:<4s}" if len(atom.name) == 4 or len(atom.element) == 2 else f" {atom.name:<3s}"
    residue = f"{atom.residue_name:>3s} " if len(atom.residue_name) < 4 else atom.residue_name
    number = f"{atom.residue_id:4d}{atom.insertion_code or ' '}"
    before = f"{kind}{index + 1:5d} {name} {residue}{atom.chain_id or ' '}{number}   "
    return before, f"  1.00  0.00          {atom.element.upper():>2s}"


def _bonds_to_tell(topology: Topology) -> list[tuple[int, int]]:
    """The bonds for CONECT: bonds of non-polymer residues, and bonds that no reader infers from names."""
    inferred = _inferred_bonds(topology)
    polymer = [atom.residue_name in _POLYMER_RESIDUES for atom in topology.atoms]
    return [bond for bond in topology.bonds if bond not in inferred or not (polymer[bond[0]] and polymer[bond[1]])]


def _inferred_bonds(topology: Topology) -> set[tuple[int, int]]:
    import mdtraj

    known = mdtraj.Topology()
    chain = residue = None
    for here, before in zip(topology.atoms, (None, *topology.atoms), strict=False):
        if before is None or here.chain_id != before.chain_id:
            chain, before = known.add_chain(), None
        if before is None or _residue(here) != _residue(before):
            residue = known.add_residue(here.residue_name, chain, here.residue_id)
        known.add_atom(here.name, mdtraj.element.virtual, residue)
    known.create_standard_bonds()
    return {(min(a.index, b.index), max(a.index, b.index)) for a, b in known.bonds}


def _residue(atom: Atom) -> tuple[str, int, str, str]:
    return atom.chain_id, atom.residue_id, atom.insertion_code, atom.residue_name


def _conect(bonds: Iterable[tuple[int, int]]) -> Iterator[str]:
    """CONECT records, each bond from both sides, at most four partners a line."""
    partners: dict[int, list[int]] = {}
    for i, j in bonds:
        partners.setdefault(i, []).append(j)
        partners.setdefault(j, []).append(i)
    for i in sorted(partners):
        around = sorted(partners[i])
        for k in range(0, len(around), 4):
            yield "CONECT" + "".join(f"{n + 1:5d}" for n in (i, *around[k : k + 4]))


def _label_numbers(topology: Topology) -> list[int]:
    """label_seq_id of every atom, which must be unique for each residue of a chain.

    It is the author's residue number, or a running number if insertion codes let residues share numbers.
    """
    if not any(atom.insertion_code for atom in topology.atoms):
        return [atom.residue_id for atom in topology.atoms]
    count: dict[str, int] = {}
    numbers: list[int] = []
    for here, before in zip(topology.atoms, (None, *topology.atoms), strict=False):
        if before is None or _residue(here) != _residue(before):
            count[here.chain_id] = count.get(here.chain_id, 0) + 1
        numbers.append(count[here.chain_id])
    return numbers


def _mmcif_columns(index: int, atom: Atom, number: int) -> tuple[str, str]:
    kind = "ATOM" if atom.residue_name in _POLYMER_RESIDUES else "HETATM"
    name, residue, chain = _quoted(atom.name), _quoted(atom.residue_name), _chain(atom)
    code = _quoted(atom.insertion_code) if atom.insertion_code else "?"
    before = f"{kind} {index + 1} {atom.element or '.'} {name} . {residue} {chain} ? {number} {code}"
    return before, f"1.0 0.0 {atom.residue_id} {residue} {chain} {name}"


def _mmcif_partner(atom: Atom, number: int) -> str:
    residue, code = _quoted(atom.residue_name), _quoted(atom.insertion_code) if atom.insertion_code else "?"
    label = f"{_chain(atom)} {residue} {number} {_quoted(atom.name)}"
    return f"{label} {_chain(atom)} {residue} {atom.residue_id} {code}"


def _chain(atom: Atom) -> str:
    return _quoted(atom.chain_id) if atom.chain_id.strip() else "."


def _quoted(text: str) -> str:
    """A text as a CIF value, quoted where the bare text would be read differently."""
    reserved = text in (".", "?") or text.lower().startswith(("data_", "loop_", "save_", "stop_", "global_"))
    if text and text[0] not in "_#$'\"[];" and not reserved and not any(c.isspace() for c in text):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'

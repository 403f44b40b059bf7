"""Molecular files as they are: names, chains, bonds and frames, through MDTraj.

MDTraj renames atoms and residues to its own standard, drops alternate locations silently, compares
disulfide distances in PDB files with the wrong unit and gives trajectories in float32. This module
undoes that: names stay as given, alternate locations are refused, disulfide bonds are found, and text
formats keep float64. Only bonds are taken from MDTraj's standard names.
"""

import gzip
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np
from mdtraj.formats import PDBTrajectoryFile
from mdtraj.formats.pdbx.PdbxReader import PdbxReader

from tpsctl.errors import EndpointError
from tpsctl.units import NM_PER_ANGSTROM

DISULFIDE_NM = 0.25
"""Two cysteine sulfurs closer than this are bonded (bond 0.205 nm, van der Waals contact above 0.34 nm)."""

Bond = tuple[int, int]


@dataclass(frozen=True)
class RawStructure:
    """What a file holds: an MDTraj topology with the file's own names, bonds, and all its frames.

    Attributes:
        topology: Names and chain identifiers exactly as in the file; its bonds are not used.
        bonds: Sorted index pairs.
        frames: Positions (frame, atom, 3), nm, float64.
    """

    topology: mdtraj.Topology
    bonds: tuple[Bond, ...]
    frames: np.ndarray


def read_structure_file(path: Path) -> RawStructure:
    """All frames of a structure file.

    Raises:
        EndpointError: Missing, unreadable, or with alternate locations.
    """
    if not path.is_file():
        raise EndpointError(f"{path}: no such file. Give a structure (PDB, mmCIF, GRO, ...) that exists.")
    reader = _READERS.get(_suffix(path), _read_other)
    with _readable(path):
        raw = reader(path)
    if raw.topology.n_atoms == 0:
        raise EndpointError(f"{path}: holds no atoms. Give a structure file with at least one atom.")
    disulfides = _disulfides(raw.topology, raw.frames[0]) if len(raw.frames) else ()
    return replace(raw, bonds=tuple(sorted({*raw.bonds, *disulfides})))


def read_frames(path: Path, raw: RawStructure, topology_path: Path) -> np.ndarray:
    """All frames (frame, atom, 3), nm, of a trajectory whose atoms are those of a topology file.

    Raises:
        EndpointError: Missing, unreadable, or with another number of atoms.
    """
    if not path.is_file():
        raise EndpointError(f"{path}: no such file. Give a trajectory that exists.")
    if _suffix(path) in _READERS:
        frames = read_structure_file(path).frames
    else:
        with _readable(path), mdtraj.open(str(path)) as file:
            found = file.read()
            positions = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float64)
            in_angstrom = getattr(file, "distance_unit", "nanometers") == "angstroms"
        frames = positions * (NM_PER_ANGSTROM if in_angstrom else 1.0)
    if frames.ndim != 3 or frames.shape[1] != raw.topology.n_atoms:
        count = frames.shape[1] if frames.ndim == 3 else 0
        raise EndpointError(
            f"{path} has {count} atoms per frame but {topology_path} has {raw.topology.n_atoms} "
            f"({_composition(raw.topology)}). Use the topology this trajectory was written with."
        )
    return frames


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a parser raises for a damaged file becomes one clear error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EndpointError:
        raise
    except Exception as error:  # parsers of damaged files raise anything
        reason = f"{type(error).__name__}: {error}".strip().rstrip(".:")
        raise EndpointError(
            f"{path}: cannot be read ({reason}). Expected a structure or trajectory that MDTraj knows, "
            "with the extension of its format (.pdb, .cif, .gro, .dcd, .xtc, ...)."
        ) from error


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _open_text(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        return file.read().splitlines()


def _bonds(topology: mdtraj.Topology) -> tuple[Bond, ...]:
    pairs = ((a.index, b.index) for a, b in topology.bonds)
    return tuple(sorted({(min(i, j), max(i, j)) for i, j in pairs}))


def _read_pdb(path: Path) -> RawStructure:
    atom_lines = [line for line in _open_text(path) if line.startswith(("ATOM  ", "HETATM"))]
    _refuse_alternates(path, ((line[16].strip(), _pdb_label(line)) for line in atom_lines))
    with PDBTrajectoryFile(str(path), standard_names=False) as file:
        topology, frames = file.topology, np.array(file.positions, dtype=np.float64) * NM_PER_ANGSTROM
    with PDBTrajectoryFile(str(path), standard_names=True) as file:
        bonds = _bonds(file.topology)
    return RawStructure(topology, bonds, frames)


def _pdb_label(line: str) -> str:
    chain = f"{line[21]}:" if line[21].strip() else ""
    return f"{chain}{line[17:21].strip()}{line[22:27].strip()}:{line[12:16].strip()}"


def _read_mmcif(path: Path) -> RawStructure:
    trajectory = mdtraj.load(str(path))
    blocks: list = []
    PdbxReader(iter(_open_text(path))).read(blocks)
    table = blocks[0].getObj("atom_site")
    columns = {name: table.getAttributeIndex(name) for name in table.getAttributeList()}
    rows = table.getRowList()

    def value(row: list[str], *names: str) -> str:
        return next((row[columns[name]] for name in names if name in columns), "")

    first_model = [r for r in rows if value(r, "pdbx_PDB_model_num") == value(rows[0], "pdbx_PDB_model_num")]
    names = [value(r, "auth_atom_id", "label_atom_id") for r in first_model]
    residues = [value(r, "auth_comp_id", "label_comp_id") for r in first_model]
    _refuse_alternates(
        path,
        (
            (value(r, "label_alt_id").strip(".?"), f"{residues[i]}{value(r, 'auth_seq_id', 'label_seq_id')}:{names[i]}")
            for i, r in enumerate(first_model)
        ),
    )
    xyz = np.array([[float(value(r, f"Cartn_{axis}")) for axis in "xyz"] for r in rows]) * NM_PER_ANGSTROM
    bonds = _bonds(trajectory.topology)
    _rename(trajectory.topology, names, residues)
    return RawStructure(trajectory.topology, bonds, xyz.reshape(-1, trajectory.n_atoms, 3))


def _read_gro(path: Path) -> RawStructure:
    trajectory = mdtraj.load(str(path))
    lines = _open_text(path)[2 : 2 + trajectory.n_atoms]
    bonds = _bonds(trajectory.topology)
    _rename(trajectory.topology, [line[10:15].strip() for line in lines], [line[5:10].strip() for line in lines])
    # GRO files have 3 to 6 decimals of a nm: rounding takes float32 back to what was written.
    return RawStructure(trajectory.topology, bonds, trajectory.xyz.astype(np.float64).round(6))


def _read_other(path: Path) -> RawStructure:
    """Formats without positions (PSF, prmtop) have no frames."""
    try:
        trajectory = mdtraj.load(str(path))
    except (ValueError, TypeError, OSError, KeyError):
        topology = mdtraj.load_topology(str(path))
        return RawStructure(topology, _bonds(topology), np.empty((0, topology.n_atoms, 3)))
    return RawStructure(trajectory.topology, _bonds(trajectory.topology), trajectory.xyz.astype(np.float64))


_READERS: dict[str, Callable[[Path], RawStructure]] = {
    ".pdb": _read_pdb,
    ".ent": _read_pdb,
    ".cif": _read_mmcif,
    ".mmcif": _read_mmcif,
    ".pdbx": _read_mmcif,
    ".gro": _read_gro,
}


def _rename(topology: mdtraj.Topology, names: list[str], residues: list[str]) -> None:
    """Give atoms and residues the names of the file back."""
    for atom, name, residue in zip(topology.atoms, names, residues, strict=True):
        atom.name = name
        atom.residue.name = residue


def _refuse_alternates(path: Path, atoms: Iterator[tuple[str, str]]) -> None:
    """Raise if an atom occurs at more than one alternate location."""
    locations: dict[str, set[str]] = {}
    for location, label in atoms:
        if location:
            locations.setdefault(label, set()).add(location)
    several = [label for label, found in locations.items() if len(found) > 1]
    if several:
        raise EndpointError(
            f"{path}: {len(several)} atoms have alternate locations (first: {several[0]} at "
            f"{' and '.join(sorted(locations[several[0]]))}), expected one position per atom. "
            "Keep one location, e.g. with PDBFixer."
        )


def _disulfides(topology: mdtraj.Topology, x: np.ndarray) -> tuple[Bond, ...]:
    """Bonds between sulfurs of cysteines that have no HG."""
    sulfurs = [
        atom.index
        for residue in topology.residues
        if residue.name in ("CYS", "CYX") and "HG" not in {atom.name for atom in residue.atoms}
        for atom in residue.atoms
        if atom.name == "SG"
    ]
    return tuple(
        (i, j) for a, i in enumerate(sulfurs) for j in sulfurs[a + 1 :] if np.linalg.norm(x[i] - x[j]) < DISULFIDE_NM
    )


def _composition(topology: mdtraj.Topology) -> str:
    """Short description for messages: residues with counts, longest list cut."""
    counts = Counter(residue.name for residue in topology.residues)
    shown = ", ".join(f"{name} x{n}" for name, n in counts.most_common(4))
    return shown + (", ..." if len(counts) > 4 else "")

"""Reads structure files and trajectories for all commands, with the names and numbers of the files.

PDB and GRO files are read column by column, and mmCIF files with gemmi (see `pdb_file`, `mmcif_file`); MDTraj reads
other formats. All readers return the same plain `Contents`. Elements, residues and bonds are then found by the same
code for every format. MDTraj has three further tasks: the selection language, binary trajectories, and the table of
standard bonds.
"""

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tpsctl.endpoints.chain_bonds import Gap, judged
from tpsctl.endpoints.close_bonds import bonds_by_distance
from tpsctl.endpoints.contents import Bond, Contents, FileAtom
from tpsctl.endpoints.foreign import read_with_mdtraj
from tpsctl.endpoints.gro_file import read_gro_file
from tpsctl.endpoints.mmcif_file import read_mmcif_file
from tpsctl.endpoints.pdb_file import read_pdb_file
from tpsctl.endpoints.standard_names import standard_bonds
from tpsctl.endpoints.text import read_text, require_regular_file
from tpsctl.errors import EndpointError
from tpsctl.molecule.elements import Site, find_element, is_amino_acid
from tpsctl.units import NM_PER_ANGSTROM

DISULFIDE_NM = 0.25
"""Two cysteine sulfurs closer than this are bonded (bond 0.205 nm, van der Waals contact above 0.34 nm)."""

_EXPECTED = "a structure (PDB, mmCIF, GRO, ...)"
_TEXT_FORMATS: dict[str, Callable[[Path, str], Contents]] = {
    ".pdb": read_pdb_file,
    ".ent": read_pdb_file,
    ".cif": read_mmcif_file,
    ".mmcif": read_mmcif_file,
    ".pdbx": read_mmcif_file,
    ".gro": read_gro_file,
}
_WITHOUT_ATOM_COUNT = (".mdcrd", ".crd")
"""Formats whose files do not say how many atoms they have."""


@dataclass(frozen=True)
class RawStructure:
    """The content of a structure file, with the elements, residues and bonds that follow from it.

    Attributes:
        contents: Atoms, frames and stated bonds, exactly as in the file.
        residues: Indices of the atoms of every residue.
        elements: Element symbol of every atom, "" if it is unknown.
        doubts: For every atom with an unknown element, the reason.
        bonds: Sorted index pairs: bonds that the file states, standard bonds, bonds along the chains and by distance.
        gaps: Gaps in the chains.
        measured: The bonds that were found by distance in residues that are not known.
    """

    contents: Contents
    residues: tuple[range, ...]
    elements: tuple[str, ...]
    doubts: dict[int, str]
    bonds: tuple[Bond, ...]
    gaps: tuple[Gap, ...]
    measured: frozenset[Bond] = frozenset()

    @property
    def atoms(self) -> tuple[FileAtom, ...]:
        """All atoms of the file, in file order."""
        return self.contents.atoms

    @property
    def frames(self) -> Float[np.ndarray, "frame atom 3"]:
        """Positions of all frames, nm."""
        return self.contents.frames

    @cached_property
    def home(self) -> list[int]:
        """Index of the residue of every atom."""
        return [number for number, residue in enumerate(self.residues) for _ in residue]

    @cached_property
    def peptide_residues(self) -> frozenset[int]:
        """Indices of residues that are amino acids, by their names or by the atoms of their backbone."""
        backbone = {"N", "CA", "C"}
        return frozenset(
            number
            for number, residue in enumerate(self.residues)
            if is_amino_acid(self.atoms[residue[0]].residue_name) or backbone <= {self.atoms[i].name for i in residue}
        )

    @property
    def composition(self) -> str:
        """Short description for messages: the most frequent residue names with their counts."""
        counts = Counter(self.atoms[residue[0]].residue_name for residue in self.residues)
        shown = ", ".join(f"{name} x{n}" for name, n in counts.most_common(4))
        return shown + (", ..." if len(counts) > 4 else "")


def read_structure_file(path: Path) -> RawStructure:
    """Read a structure file with all its frames.

    Raises:
        EndpointError: The file is missing, is no regular file, cannot be read, or has no atoms.
    """
    require_regular_file(path, _EXPECTED)
    reader = _TEXT_FORMATS.get(format_of(path))
    with _readable(path):
        contents = reader(path, read_text(path)) if reader else read_with_mdtraj(path)
    if not contents.atoms:
        raise EndpointError(f"{path}: holds no atoms. Give a structure file with at least one atom.")
    return _concluded(contents)


def read_frames(path: Path, raw: RawStructure, topology_path: Path) -> Float[np.ndarray, "frame atom 3"]:
    """Read all frames (frame, atom, 3), nm, of a trajectory that has the atoms of a topology file.

    Raises:
        EndpointError: The file is missing, is no regular file, cannot be read, or has another number of atoms.
    """
    require_regular_file(path, "a trajectory")
    if format_of(path) in _TEXT_FORMATS:
        frames = read_structure_file(path).frames
    else:
        with _readable(path):
            frames = _trajectory_frames(path, len(raw.atoms))
    require_atoms(frames, raw, path, topology_path)
    return frames


def require_atoms(frames: np.ndarray, raw: RawStructure, path: Path, topology_path: Path) -> None:
    """Refuse frames that do not have the atoms of their topology file.

    Raises:
        EndpointError: They have another number of atoms.
    """
    if frames.ndim != 3 or frames.shape[1] != len(raw.atoms):
        count = frames.shape[1] if frames.ndim == 3 else 0
        raise EndpointError(
            f"{path} has {count} atoms per frame but {topology_path} has {len(raw.atoms)} "
            f"({raw.composition}). Use the topology this trajectory was written with."
        )


def has_text_format(path: Path) -> bool:
    """Whether the format names its atoms, so that the file is read as a structure file with several frames."""
    return format_of(path) in _TEXT_FORMATS


def format_of(path: Path) -> str:
    """The extension that names the format, in lower case; an extension for compression is ignored."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _trajectory_frames(path: Path, n_atoms: int) -> np.ndarray:
    with opened_trajectory(path, n_atoms) as (file, factor):
        found = file.read()
    positions = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float64)
    return positions * factor


@contextmanager
def opened_trajectory(path: Path, n_atoms: int) -> Iterator[tuple[Any, float]]:
    """An open trajectory of MDTraj, and the factor that turns its positions into nm.

    Raises:
        EndpointError: The file is missing, is no regular file, or cannot be read.
    """
    import mdtraj

    require_regular_file(path, "a trajectory")
    known = {"n_atoms": n_atoms} if format_of(path) in _WITHOUT_ATOM_COUNT else {}
    with _readable(path), _with_small_extension(path) as readable, mdtraj.open(str(readable), **known) as file:
        in_angstrom = getattr(file, "distance_unit", "nanometers") == "angstroms"
        yield file, NM_PER_ANGSTROM if in_angstrom else 1.0


@contextmanager
def _with_small_extension(path: Path) -> Iterator[Path]:
    """The file under a name with a lower-case extension, because MDTraj does not recognize `.DCD` as `.dcd`."""
    if path.suffix == path.suffix.lower():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, f"trajectory{path.suffix.lower()}")
        link.symlink_to(path.resolve())
        yield link


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn any exception that a parser raises for a damaged file into one clear error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except EndpointError:
        raise
    except Exception as error:  # a damaged file may raise any exception in a parser
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")[:300]
        raise EndpointError(
            f"{path}: cannot be read ({reason}). Expected a structure or trajectory in a known format, "
            "with the extension of that format (.pdb, .cif, .gro, .dcd, .xtc, ...)."
        ) from error


def _concluded(contents: Contents) -> RawStructure:
    """Find the residues, elements and bonds of the atoms of a file."""
    residues = contents.residues()
    x = contents.frames[0] if len(contents.frames) else None
    elements, doubts = _elements(contents, residues, x)
    bonds: set[Bond] = set(contents.bonds)
    gaps: list[Gap] = []
    measured: set[Bond] = set()
    if not contents.complete:
        inside, between = standard_bonds(contents.atoms, residues)
        bonds |= inside
        if x is None:
            bonds |= between
        else:
            between = _not_joined_otherwise(
                between | _peptide_bonds(contents.atoms, residues), contents.bonds, residues
            )
            found, gaps = judged(between - bonds, contents.atoms, x, contents.box_nm)
            bonds |= found | _disulfides(contents.atoms, residues, x)
            measured = bonds_by_distance(contents.atoms, elements, residues, x, bonds)
    everything = tuple(sorted(bonds | measured))
    return RawStructure(contents, residues, elements, doubts, everything, tuple(gaps), frozenset(measured))


def _elements(
    contents: Contents, residues: tuple[range, ...], x: np.ndarray | None
) -> tuple[tuple[str, ...], dict[int, str]]:
    elements, doubts = [""] * len(contents.atoms), {}
    known: dict[Site, tuple[str, str]] = {}
    for residue in residues:
        names = [contents.atoms[i].name for i in residue]
        alone = len(set(names)) == 1  # alternate locations count as one atom
        for i in residue:
            atom = contents.atoms[i]
            site = Site(atom.residue_name, atom.name, atom.declared, alone, indented=atom.indented)
            if site not in known:
                known[site] = find_element(site)
            symbol, doubt = known[site]
            if doubt and x is not None and not alone:
                others = [j for j, name in zip(residue, names, strict=True) if name != atom.name]
                nearest = float(np.linalg.norm(x[others] - x[i], axis=1).min())
                symbol, doubt = find_element(replace(site, nearest_nm=nearest))
            elements[i] = symbol
            if doubt:
                doubts[i] = doubt
    return tuple(elements), doubts


def _peptide_bonds(atoms: tuple[FileAtom, ...], residues: tuple[range, ...]) -> set[Bond]:
    """Bonds between C and N of consecutive residues, as proposals.

    The residues may be modified amino acids; they must have a backbone.
    """
    ends: list[Any] = []
    for residue in residues:
        names = {atoms[i].name: i for i in residue}
        is_peptide = {"N", "CA", "C"} <= set(names)
        ends.append((names["N"], names["C"], atoms[residue[0]].part) if is_peptide else None)
    return {
        (before[1], after[0])
        for before, after in zip(ends, ends[1:], strict=False)
        if before and after and before[2] == after[2]
    }


def _not_joined_otherwise(proposed: set[Bond], stated: tuple[Bond, ...], residues: tuple[range, ...]) -> set[Bond]:
    """Proposed bonds between residues that no other bond of the file joins (such as the amide of a side chain)."""
    home = {i: number for number, residue in enumerate(residues) for i in residue}
    joined = {frozenset((home[i], home[j])) for i, j in stated if home[i] != home[j]}
    return {(i, j) for i, j in proposed if frozenset((home[i], home[j])) not in joined}


def _disulfides(atoms: tuple[FileAtom, ...], residues: tuple[range, ...], x: np.ndarray) -> set[Bond]:
    """Bonds between sulfurs of cysteines that have no HG."""
    sulfurs = [
        i
        for residue in residues
        if atoms[residue[0]].residue_name in ("CYS", "CYX") and "HG" not in {atoms[i].name for i in residue}
        for i in residue
        if atoms[i].name == "SG"
    ]
    return {
        (i, j)
        for a, i in enumerate(sulfurs)
        for j in sulfurs[a + 1 :]
        if atoms[i].residue_label != atoms[j].residue_label and np.linalg.norm(x[i] - x[j]) < DISULFIDE_NM
    }

"""Structure and topology files of other programs (PSF, prmtop, MOL2, HDF5 ...), read by MDTraj."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tpsctl.endpoints.contents import Contents, FileAtom
from tpsctl.errors import EndpointError


def read_with_mdtraj(path: Path) -> Contents:
    """Read atoms, bonds and frames of a file; formats without positions (PSF, prmtop) have no frames.

    Raises:
        EndpointError: The extension is that of no format that names atoms.
        Exception: MDTraj cannot read the file; the exception is MDTraj's own.
    """
    import mdtraj

    _require_known_format(path)
    with tempfile.TemporaryDirectory() as folder:
        readable = path
        if path.suffix != path.suffix.lower():  # MDTraj recognizes extensions in lower case only
            readable = Path(folder, f"structure{path.suffix.lower()}")
            readable.symlink_to(path.resolve())
        try:
            trajectory = mdtraj.load(str(readable))
        except (ValueError, TypeError, OSError, KeyError):
            topology = mdtraj.load_topology(str(readable))
            return _contents(topology, np.empty((0, topology.n_atoms, 3)), None)
    box = trajectory.unitcell_vectors
    return _contents(trajectory.topology, trajectory.xyz.astype(np.float64), None if box is None else box[0])


def _require_known_format(path: Path) -> None:
    from mdtraj.core.trajectory import _TOPOLOGY_EXTS

    extension = "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:])
    if extension.lower() not in _TOPOLOGY_EXTS:
        raise EndpointError(
            f'{path}: cannot be read: "{extension}" is the extension of no format that names atoms and residues '
            "(PDB, mmCIF, GRO, PSF, prmtop, MOL2, HDF5, ...). Write the structure as PDB or mmCIF; for a trajectory, "
            "name a structure file of the same atoms as topology."
        )


def _contents(topology: Any, frames: np.ndarray, box: np.ndarray | None) -> Contents:
    bonds = {(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}
    atoms = tuple(
        FileAtom(
            name=atom.name,
            residue_name=atom.residue.name,
            residue_id=int(atom.residue.resSeq),
            chain_id=(getattr(atom.residue.chain, "chain_id", None) or "").strip(),
            part=atom.residue.chain.index,
            declared=atom.element.symbol if atom.element is not None and atom.element.mass > 0 else "",
            segment=atom.residue.segment_id or "",
        )
        for atom in topology.atoms
    )
    return Contents(atoms, frames, tuple(sorted(bonds)), box, complete=bool(bonds))

"""Paths as trajectory files: DCD, and PDB (mmCIF where PDB cannot hold the names) with one model per image.

Image i gets the time i * dt_ps, where dt_ps is the step of the action. This is a parameter of the path and does not
measure the time of the reaction. Beads of model systems with one or two dimensions are written as dummy atoms whose
missing coordinates are zero. Non-finite coordinates are refused. Every file is written under a temporary name, read
again and compared, and only then given its name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import OutputError
from tpsctl.files import atomic
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.output.dcd import read_dcd, write_dcd
from tpsctl.output.pdb import fits_pdb, identities, mmcif_text, pdb_text, read_mmcif, read_pdb
from tpsctl.units import NM_PER_ANGSTROM

Format = Literal["dcd", "pdb"]

_PDB_ROUNDING_ANGSTROM, _XTC_ROUNDING_ANGSTROM = 0.00051, 0.0051
_FLOAT32_EPS = 1.2e-7


def dummy_topology(n_beads: int) -> Topology:
    """A topology of dummy atoms, without bonds, for the beads of a model system."""
    return Topology(tuple(Atom(f"X{i + 1}", "", "MOD", 1, "A", 1.0) for i in range(n_beads)), ())


def write_topology(directory: Path, topology: Topology, x: Float[Tensor, "bead dim"], *, name: str) -> Path:
    """Write topology.pdb (or topology.cif) with one structure, nm, usually end A, and return its path.

    Args:
        directory: Folder of the file.
        topology: Atoms or beads.
        x: Their positions, nm.
        name: Title of the file.

    Raises:
        OutputError: A coordinate is not finite, or the file cannot be written or does not read back as it should.
    """
    return _write_structures(directory / "topology.pdb", topology, _angstrom(x[None], "topology"), title=name)


def write_path(
    directory: Path,
    index: int,
    path: Float[Tensor, "image bead dim"],
    topology: Topology,
    *,
    dt_ps: float | None,
    formats: Sequence[Format],
) -> list[Path]:
    """Write one path in each format, and return the files, e.g. [paths/path_0000.dcd, paths/path_0000.pdb].

    Args:
        directory: The run directory; files go to its folder `paths`.
        index: Number of the path.
        path: All images, nm.
        topology: Atoms or beads of the path.
        dt_ps: Step of the action, ps, which is written as the time between frames; None for a path without a time
            step, whose images are written 1 ps apart.
        formats: "dcd" and/or "pdb".

    Raises:
        OutputError: A coordinate is not finite, or a file cannot be written or does not read back as it should.
    """
    x = _angstrom(path, f"path {index}")
    step = (
        "1 ps (path without a time step)" if dt_ps is None else f"{dt_ps:g} ps (step of the action, no reaction time)"
    )
    title = f"path {index}, {len(x)} images; time = image x {step}"
    stem = directory / "paths" / f"path_{index:04d}"
    writers = {
        "dcd": lambda: _write_dcd(stem.with_suffix(".dcd"), x, 1.0 if dt_ps is None else dt_ps, title),
        "pdb": lambda: _write_structures(stem.with_suffix(".pdb"), topology, x, title=title),
    }
    return [writers[name]() for name in formats]


def write_frames(file: Path, x: Float[Tensor, "frame bead dim"], *, title: str) -> Path:
    """Write structures that are no path, nm, as frames of a DCD file, 1 ps apart, and return the file.

    Raises:
        OutputError: A coordinate is not finite, or the file cannot be written or does not read back as it should.
    """
    return _write_dcd(file, _angstrom(x, title), 1.0, title)


def write_ensemble(
    stem: Path,
    x: Float[Tensor, "sample bead dim"],
    topology: Topology,
    *,
    title: str,
    formats: Sequence[Literal["dcd", "xtc", "pdb"]],
) -> list[Path]:
    """Write samples that are no path, nm, in each format, and return the files, e.g. [stem.dcd, stem.pdb].

    Args:
        stem: File name without suffix.
        x: The samples, nm.
        topology: Their atoms or beads.
        title: Title of the files.
        formats: "dcd", "xtc" (in steps of 0.001 nm) and/or "pdb".

    Raises:
        OutputError: A coordinate is not finite, or a file cannot be written or does not read back as it should.
    """
    angstrom = _angstrom(x, title)
    writers = {
        "dcd": lambda: _write_dcd(stem.with_suffix(".dcd"), angstrom, 1.0, title),
        "xtc": lambda: _write_xtc(stem.with_suffix(".xtc"), angstrom),
        "pdb": lambda: _write_structures(stem.with_suffix(".pdb"), topology, angstrom, title=title),
    }
    return [writers[name]() for name in formats]


def _write_xtc(file: Path, x: np.ndarray) -> Path:
    from mdtraj.formats import XTCTrajectoryFile

    with atomic(file) as temporary:
        with XTCTrajectoryFile(str(temporary), "w") as out:
            out.write((x * NM_PER_ANGSTROM).astype("<f4"), time=np.arange(len(x), dtype="<f4"))
        with XTCTrajectoryFile(str(temporary), "r") as written:
            _compare(file, written.read()[0] / NM_PER_ANGSTROM, x, _XTC_ROUNDING_ANGSTROM)
    return file


def _angstrom(path: Tensor, what: str) -> Float[np.ndarray, "frame atom 3"]:
    """Positions in angstrom with three coordinates, float64."""
    bad = (~path.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise OutputError(
            f"{what}: image {bad[0]} has a non-finite coordinate ({len(bad)} of {len(path)} images have); "
            "a trajectory of it would mislead, so none is written. See the path's status in manifest.json."
        )
    x = path.detach().cpu().double()
    missing = 3 - x.shape[-1]
    return torch.nn.functional.pad(x, (0, missing)).numpy() / NM_PER_ANGSTROM


def _write_dcd(file: Path, x: np.ndarray, dt_ps: float, title: str) -> Path:
    with atomic(file) as temporary:
        write_dcd(temporary, x, dt_ps=dt_ps, title=title)
        _compare(file, read_dcd(temporary), x, 0.0)
    return file


def _write_structures(file: Path, topology: Topology, x: np.ndarray, *, title: str) -> Path:
    if topology.n_atoms != x.shape[1]:
        raise OutputError(f"{file}: the topology has {topology.n_atoms} atoms and the positions have {x.shape[1]}.")
    as_pdb = fits_pdb(topology, x)
    file = file if as_pdb else file.with_suffix(".cif")
    text = pdb_text(topology, x, title=title) if as_pdb else mmcif_text(topology, x, title=title)
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
        found, written = read_pdb(temporary) if as_pdb else read_mmcif(temporary)
        if found != identities(topology):
            raise OutputError(f"{file}: names or numbers changed on reading the file back. Please report this.")
        _compare(file, written, x, _PDB_ROUNDING_ANGSTROM)
    return file


def _compare(file: Path, written: np.ndarray, meant: np.ndarray, tolerance: float) -> None:
    if written.shape != meant.shape:
        raise OutputError(f"{file}: {meant.shape} (frames, atoms, 3) were written, {written.shape} read back.")
    worst = float(np.abs(written - meant).max())
    if not worst <= tolerance + _FLOAT32_EPS * float(np.abs(meant).max()):
        raise OutputError(f"{file}: positions read back differ by {worst:.2g} angstrom. Check the disk.")

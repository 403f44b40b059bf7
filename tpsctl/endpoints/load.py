"""Load one end of a path, or a whole trajectory, as the beads the user selected."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.chosen_atoms import beads_of
from tpsctl.endpoints.reading import RawStructure, read_frames, read_structure_file
from tpsctl.endpoints.structure import Structure, require_sound
from tpsctl.errors import EndpointError
from tpsctl.molecule.topology import Topology


def load_structure(
    path: str | Path, *, frame: int | None = None, topology: str | Path | None = None, select: str = "all"
) -> Structure:
    """Load one structure from a structure file, or one frame of a trajectory.

    Args:
        path: PDB, mmCIF, GRO, ... or, with `topology`, a trajectory (DCD, XTC, ...).
        frame: Number of the frame, from 0 (negative: from the end); may be None if there is only one.
        topology: Structure file that names the atoms of a trajectory.
        select: MDTraj selection of the beads, e.g. "name CA".

    Raises:
        EndpointError: The file cannot be read, the selection is wrong, or the structure is not sound.
    """
    raw, frames = _read(Path(path), None if topology is None else Path(topology))
    index = _frame_index(path, frame, len(frames))
    source = str(path) if len(frames) == 1 else f"{path} frame {index}"
    beads, molecule, notes = beads_of(raw, select, source)
    return require_sound(Structure(molecule, torch.from_numpy(frames[index][beads]), source, notes))


def load_path(path: str | Path, *, topology: str | Path | None = None, select: str = "all") -> list[Structure]:
    """Load all frames of a trajectory or multi-model file, in order, each as a `Structure`.

    Raises:
        EndpointError: As `load_structure`; also if there are fewer than two frames.
    """
    images = load_structures(path, topology=topology, select=select)
    if len(images) < 2:
        raise EndpointError(f"{path}: has {len(images)} frame, expected at least 2 for a path. Give a trajectory.")
    return images


def load_structures(path: str | Path, *, topology: str | Path | None = None, select: str = "all") -> list[Structure]:
    """Load all frames of a file, each as a `Structure`; there may be only one.

    Raises:
        EndpointError: As `load_structure`; also if there are none.
    """
    raw, frames = _read(Path(path), None if topology is None else Path(topology))
    if not len(frames):
        raise EndpointError(f"{path}: has 0 frames, expected at least one structure. Give a file with positions.")
    beads, molecule, notes = beads_of(raw, select, str(path))
    first = Structure(molecule, torch.from_numpy(frames[0][beads]), str(path), notes)
    made = (replace(first, x=torch.from_numpy(f[beads]), source=f"{path} frame {i}") for i, f in enumerate(frames))
    return [require_sound(image) for image in made]


def load_frames(
    path: str | Path, frames: Sequence[int], *, topology: str | Path | None = None, select: str = "all"
) -> list[Structure]:
    """Load some frames of a trajectory or multi-model file, in the given order, each as a `Structure`.

    Args:
        path: Multi-model structure file or, with `topology`, a trajectory.
        frames: Numbers of the frames, from 0.
        topology: Structure file that names the atoms of a trajectory.
        select: MDTraj selection of the beads.

    Raises:
        EndpointError: As `load_structure`, for any of the frames.
    """
    raw, found = _read(Path(path), None if topology is None else Path(topology))
    beads, molecule, notes = beads_of(raw, select, str(path))
    numbers = [_frame_index(path, frame, len(found)) for frame in frames]
    return [
        require_sound(Structure(molecule, torch.from_numpy(found[k][beads]), f"{path} frame {k}", notes))
        for k in numbers
    ]


def load_ensemble(
    paths: Sequence[str | Path], *, topology: str | Path, select: str = "all"
) -> tuple[Topology, list[Float[Tensor, "frame bead 3"]]]:
    """Load all frames of several trajectories of one molecule, for statistics; positions are in nm, float64.

    Raises:
        EndpointError: As `load_structure`, for the worst frame of each trajectory; also if one has no frames.
    """
    raw = read_structure_file(Path(topology))
    beads, molecule, _ = beads_of(raw, select, str(topology))
    trajectories = []
    for path in paths:
        x = torch.from_numpy(read_frames(Path(path), raw, Path(topology))[:, beads])
        if not len(x):
            raise EndpointError(f"{path}: holds no frames. Give a trajectory with at least one.")
        worst = most_suspicious_frame(x, molecule)
        require_sound(Structure(molecule, x[worst], f"{path} frame {worst}"))
        trajectories.append(x)
    return molecule, trajectories


def most_suspicious_frame(x: Float[Tensor, "frame bead 3"], molecule: Topology) -> int:
    """The frame with a position that is not finite, or else the one with the longest bond."""
    finite = torch.isfinite(x).all(-1).all(-1)
    if not finite.all() or not molecule.bonds:
        return int(finite.long().argmin())
    i, j = torch.tensor(molecule.bonds).unbind(1)
    return int((x[:, i] - x[:, j]).norm(dim=-1).amax(1).argmax())


def _read(path: Path, topology: Path | None) -> tuple[RawStructure, np.ndarray]:
    if topology is None:
        raw = read_structure_file(path)
        return raw, raw.frames
    raw = read_structure_file(topology)
    return raw, read_frames(path, raw, topology)


def _frame_index(path: str | Path, frame: int | None, count: int) -> int:
    if count == 0:
        raise EndpointError(f"{path}: holds no positions. Give a structure, or a trajectory with this topology.")
    if frame is None:
        if count > 1:
            raise EndpointError(
                f"{path}: has {count} models or frames, expected one. Choose one with frame: 0 to {count - 1}."
            )
        return 0
    if not -count <= frame < count:
        raise EndpointError(f"{path}: frame {frame} is out of range; there are {count} frames (0 to {count - 1}).")
    return frame % count

"""Reads the chosen beads of long trajectories piece by piece, so that memory does not grow with their length.

Atoms are selected in every piece before anything is judged, so that broken molecules of solvent do not matter. Every
n-th frame is kept; where more would be kept than allowed, the stride is doubled for all trajectories, and the frames
that are kept already are thinned in the same way. The result is that of a larger stride from the start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.chosen_atoms import beads_of
from tpsctl.endpoints.load import most_suspicious_frame
from tpsctl.endpoints.reading import (
    RawStructure,
    has_text_format,
    opened_trajectory,
    read_frames,
    read_structure_file,
    require_atoms,
)
from tpsctl.endpoints.structure import Structure, require_sound
from tpsctl.errors import EndpointError
from tpsctl.molecule.topology import Topology

_PIECE_BYTES = 16_000_000
"""Size of the positions that are read at once, in single precision."""


@dataclass(frozen=True)
class Ensemble:
    """Frames of several trajectories of one molecule.

    Attributes:
        topology: The chosen beads.
        trajectories: Positions of every trajectory, nm, float32.
        frames: Number of frames in the file of every trajectory.
        stride: Every frame whose number is a multiple of it is here.
    """

    topology: Topology
    trajectories: tuple[Float[Tensor, "_ bead 3"], ...]
    frames: tuple[int, ...]
    stride: int


def stream_ensemble(
    paths: Sequence[Path], *, topology: Path, select: str = "all", stride: int = 1, most_frames: int
) -> Ensemble:
    """Read frames of several trajectories of one molecule, at most `most_frames` in all.

    Args:
        paths: The trajectories, in any format of MDTraj.
        topology: Structure file that names their atoms.
        select: MDTraj selection of the beads.
        stride: Every frame whose number is a multiple of it is taken; doubled until at most `most_frames` are.
        most_frames: Largest number of frames that are kept, at least one for each trajectory.

    Raises:
        EndpointError: A file cannot be read or has no frames, the selection is wrong, or the worst frame that is kept
            is not sound.
    """
    raw = read_structure_file(topology)
    beads, molecule, _ = beads_of(raw, select, str(topology))
    kept: list[list[np.ndarray]] = []
    counts: list[int] = []
    for path in paths:
        kept.append([])
        counts.append(0)
        for piece in pieces(path, raw, topology, beads):
            kept[-1].append(piece[-counts[-1] % stride :: stride].copy())
            counts[-1] += len(piece)
            while sum(len(x) for parts in kept for x in parts) > max(most_frames, len(paths)):
                stride *= 2
                kept = [[np.concatenate(parts)[::2].copy()] for parts in kept]
        if not counts[-1]:
            raise EndpointError(f"{path}: holds no frames. Give a trajectory with at least one.")
    trajectories = tuple(torch.from_numpy(np.concatenate(parts)) for parts in kept)
    for path, x in zip(paths, trajectories, strict=True):
        worst = most_suspicious_frame(x, molecule)
        require_sound(Structure(molecule, x[worst].double(), f"{path} frame {worst * stride}"))
    return Ensemble(molecule, trajectories, tuple(counts), stride)


def pieces(
    path: Path, raw: RawStructure, topology_path: Path, beads: Sequence[int]
) -> Iterator[Float[np.ndarray, "frame bead 3"]]:
    """Positions of the chosen beads, nm, float32, of consecutive pieces of a trajectory.

    Raises:
        EndpointError: The file is missing, cannot be read, or has another number of atoms.
    """
    if has_text_format(path):
        yield read_frames(path, raw, topology_path)[:, beads].astype(np.float32)
        return
    count = max(1, _PIECE_BYTES // (12 * len(raw.atoms)))
    with opened_trajectory(path, len(raw.atoms)) as (file, factor):
        while True:
            found: Any = file.read(n_frames=count)
            x = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float32)
            if not len(x):
                return
            require_atoms(x, raw, path, topology_path)
            yield x[:, beads] * np.float32(factor)
            if len(x) < count:
                return

"""Packs the structures of all paths into text that a page can hold, small enough for one file.

Positions are rounded to a hundredth of an angstrom (coarser if a molecule is larger than 65 nm) and kept as 16-bit
integers. Neighboring images differ little, so every image but the first of a path is stored as its difference from the
image before. Low and high bytes are separated, compressed with zlib and written in base 64. If the text is still too
long, only every second, third ... image is kept.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tpsctl.molecule.topology import Topology

BUDGET_BYTES = 3_400_000
"""Longest text of the packed positions; with the viewer and the tables, the page stays below 5 MB."""

_PER_ANGSTROM = 100.0
_LARGEST = 32000


@dataclass(frozen=True)
class PackedFrames:
    """Structures of all paths as text.

    Attributes:
        atoms: (element, atom name, residue) of every atom or bead; element "" for a bead.
        bonds: Pairs of atoms, counted from 0.
        n_paths: Number of paths.
        n_frames: Number of structures of each path.
        stride: Image k * stride is frame k; the last frame is the last image.
        per_angstrom: Integers per angstrom.
        text: Compressed positions in base 64.
        beads: Whether these are beads of a coarse-grained model.
    """

    atoms: tuple[tuple[str, str, str], ...]
    bonds: tuple[tuple[int, int], ...]
    n_paths: int
    n_frames: int
    stride: int
    per_angstrom: float
    text: str
    beads: bool


def pack_frames(
    topology: Topology, x_angstrom: Float[np.ndarray, "path image atom 3"], *, beads: bool, budget: int = BUDGET_BYTES
) -> PackedFrames:
    """Pack the structures of all paths; every image if that fits the budget, else every second, third ...

    Args:
        topology: Atoms and bonds.
        x_angstrom: Positions, angstrom, finite.
        beads: Whether these are beads of a coarse-grained model.
        budget: Longest text of the positions, bytes.
    """
    x = x_angstrom - x_angstrom.mean(2, keepdims=True)  # every image in the middle of the view
    scale = min(_PER_ANGSTROM, _LARGEST / max(float(np.abs(x).max()), 1e-9))
    whole = np.rint(x * scale).astype("<i2")
    stride, kept = 1, list(range(x.shape[1]))
    text = _packed(whole)
    while len(text) > budget and len(kept) > 2:
        stride = max(stride + 1, round(stride * len(text) / budget))
        kept = frames_kept(x.shape[1], stride)
        text = _packed(whole[:, kept])
    atoms = tuple((atom.element, atom.name, atom.residue) for atom in topology.atoms)
    return PackedFrames(atoms, topology.bonds, len(x), len(kept), stride, scale, text, beads)


def frames_kept(n_images: int, stride: int) -> list[int]:
    """Numbers of the images that are kept: every `stride`-th one and the last."""
    return sorted({*range(0, n_images, stride), n_images - 1})


def _packed(whole: np.ndarray) -> str:
    steps = whole.copy()
    steps[:, 1:] = whole[:, 1:] - whole[:, :-1]  # 16-bit differences wrap around, and so do the sums that undo them
    planes = steps.reshape(-1).view(np.uint8).reshape(-1, 2).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode("ascii")

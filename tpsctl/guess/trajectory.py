"""The user's own frames, or the paths of an earlier run, resampled to the number of images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import PathError
from tpsctl.guess.base import Guess, fix_gauge, fractions
from tpsctl.molecule.geometry import rmsd, superpose


class TrajectoryGuess(Guess):
    """Images at equal distances along given trajectories; path k uses trajectory k modulo the number of trajectories.

    Args:
        trajectories: Frames (frame, bead, dim) in the start's order of beads, nm, each from start to end or
            backwards (then it is reversed). The ends are added, so they need not be among the frames.

    Raises:
        PathError: There is no trajectory, or a position is not finite.
    """

    def __init__(self, trajectories: Sequence[Float[Tensor, "frame bead dim"]]) -> None:
        if not trajectories or not all(bool(torch.isfinite(frames).all()) for frames in trajectories):
            raise PathError(
                "path.guess: got no trajectory or positions that are not finite, expected at least one "
                "finite trajectory. Mend or replace path.guess.trajectory."
            )
        self._trajectories = trajectories

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        frames = self._trajectories[index % len(self._trajectories)].to(ends)
        whole = torch.cat([ends[:1], _forwards(frames, ends), ends[1:]])
        return fix_gauge(resample(_chained(whole), images), ends)


def resample(path: Float[Tensor, "frame bead dim"], images: int) -> Float[Tensor, "image bead dim"]:
    """Images at equal distances along the straight segments that join the frames of a path; any unit of length."""
    length = torch.cat([path.new_zeros(1), (path[1:] - path[:-1]).flatten(1).norm(dim=1).cumsum(0)])
    wanted = fractions(path, images) * length[-1]
    right = torch.searchsorted(length, wanted).clamp(1, len(path) - 1)
    width = (length[right] - length[right - 1]).clamp_min(torch.finfo(path.dtype).tiny)
    share = ((wanted - length[right - 1]) / width).clamp(0, 1).reshape(-1, 1, 1)
    return (1 - share) * path[right - 1] + share * path[right]


def _forwards(frames: Tensor, ends: Tensor) -> Tensor:
    """The frames, reversed if that brings the first and last of them closer to the ends of the path."""
    apart = (lambda a, b: rmsd(a, b)) if _is_free(ends) else (lambda a, b: (a - b).norm())
    forwards = apart(frames[0], ends[0]) + apart(frames[-1], ends[1])
    backwards = apart(frames[-1], ends[0]) + apart(frames[0], ends[1])
    return frames.flip(0) if bool(backwards < forwards) else frames


def _chained(frames: Tensor) -> Tensor:
    """The frames, each superposed on the one before it, so that distances of neighbors contain no rigid motion."""
    if not _is_free(frames):
        return frames
    chained = [frames[0]]
    for frame in frames[1:]:
        chained.append(superpose(frame, chained[-1]))
    return torch.stack(chained)


def _is_free(frames: Tensor) -> bool:
    """Whether an image may move rigidly without a change of energy, as a molecule may and a model system may not."""
    return frames.shape[-1] == 3 and frames.shape[-2] >= 3

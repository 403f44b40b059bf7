"""Marginals between snapshots of a process: straight lines between frames of one snapshot and the next.

Frames of neighboring snapshots are paired within blocks so that the sum of their squared distances is nearly least,
by Sinkhorn's iterations with an entropy of 2 % of the mean squared distance. With frames paired at random, the
distribution half way between two snapshots would be far too narrow. A track goes through one frame of every snapshot;
a batch takes both ends and the middle from the same tracks.

What happens between snapshots is an assumption, and the more snapshots there are, the less it matters.

Source: Cuturi, arXiv:1306.0895 (Sinkhorn's iterations for transport); Tong et al., arXiv:2302.00482 (pairs within
batches).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.training.objectives.action_matching.marginals import Marginals

_BLOCK, _ITERATIONS, _ENTROPY = 128, 100, 0.02


class BetweenSnapshots(Marginals):
    """Points on straight tracks through snapshots.

    Args:
        tracks: Frames (snapshot, track, bead, dim) that belong together, float32.
        times: Times of the snapshots, rising from 0 to 1.
    """

    def __init__(self, tracks: Float[Tensor, "snapshot track bead dim"], times: Sequence[float]) -> None:
        self.dims = tracks[0, 0].numel()
        self._tracks, self._times = tracks, torch.tensor(times, dtype=torch.float64)

    def draw(self, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        track = torch.randint(self._tracks.shape[1], (len(t),), generator=generator)
        place = (torch.searchsorted(self._times, t, right=True) - 1).clamp(0, len(self._times) - 2)
        share = (t - self._times[place]) / (self._times[place + 1] - self._times[place])
        before, after = self._tracks[place, track], self._tracks[place + 1, track]
        middle = before + share.to(before).view(-1, 1, 1) * (after - before)
        return self._tracks[0, track], middle, self._tracks[-1, track]

    def tensors(self) -> tuple[Tensor, ...]:
        return self._tracks, self._times


def paired_tracks(
    snapshots: Sequence[Float[Tensor, "frame bead dim"]], count: int, generator: torch.Generator
) -> Float[Tensor, "snapshot track bead dim"]:
    """About `count` tracks, a multiple of the size of a block, through frames drawn from every snapshot."""
    blocks = []
    for _ in range(max(1, round(count / _BLOCK))):
        drawn = [frames[torch.randint(len(frames), (_BLOCK,), generator=generator)] for frames in snapshots]
        track = [drawn[0]]
        for following in drawn[1:]:
            track.append(following[_partners(track[-1], following, generator)])
        blocks.append(torch.stack(track))
    return torch.cat(blocks, dim=1)


def _partners(a: Tensor, b: Tensor, generator: torch.Generator) -> Tensor:
    """For every frame of a the number of its partner in b, drawn from the transport plan with small entropy."""
    cost = torch.cdist(a.flatten(1).double(), b.flatten(1).double()).square()
    scaled = -cost / (_ENTROPY * cost.mean()).clamp_min(torch.finfo(cost.dtype).tiny)
    rows, columns = torch.zeros(len(a), dtype=cost.dtype), torch.zeros(len(b), dtype=cost.dtype)
    for _ in range(_ITERATIONS):
        rows = -torch.logsumexp(scaled + columns, 1)
        columns = -torch.logsumexp(scaled + rows.unsqueeze(1), 0)
    plan = torch.softmax(scaled + columns, 1)
    return torch.multinomial(plan, 1, generator=generator).squeeze(1)

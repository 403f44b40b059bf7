"""Which paths take the same route: clusters of their highest images.

Two paths belong to one channel if a chain of paths joins them in which the backbone dihedrals at the
highest images of neighbors differ by less than a limit (single linkage on a torus). The limit is below the distance
of different saddles of a peptide (60 degrees and more for alanine dipeptide) and above the scatter of paths over one.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LINK_DEG = 45.0
"""Largest difference of any dihedral between linked paths, degrees."""


def find_channels(at_top: Float[Tensor, "path angle"], barrier: Float[Tensor, " path"]) -> list[int]:
    """The channel of each path by number; channel 0 has the lowest barrier.

    Args:
        at_top: Dihedrals at the highest image of each path, rad.
        barrier: Barrier of each path, kJ/mol, by which channels are ordered; NaN counts as highest.
    """
    difference = at_top.unsqueeze(0) - at_top.unsqueeze(1)
    apart = torch.atan2(difference.sin(), difference.cos()).abs().amax(-1)
    linked = (apart < math.radians(LINK_DEG)).to(torch.float64)
    for _ in range(max(1, math.ceil(math.log2(max(2, len(linked)))))):
        linked = (linked @ linked > 0).to(torch.float64)  # after k rounds: joined by at most 2^k links
    representative = linked.argmax(1)
    lowest = barrier.nan_to_num(nan=math.inf)
    found = sorted(representative.unique().tolist(), key=lambda r: lowest[representative == r].min().item())
    return [found.index(r) for r in representative.tolist()]

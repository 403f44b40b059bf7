"""Image dependent pair potential: interpolate distances instead of positions.

The straight line is relaxed until the distances of each image are as close as possible to values interpolated between
both ends (see `tpsctl.guess.pairs`). Short distances weigh most: atoms go around each other instead of through.

Paths differ by a random middle: the structure halfway is displaced smoothly along the bonds, and the
change of its distances (except those of bonds and angles) bends the targets by a term sin^2(pi s).

Source: Smidstrup et al., J. Chem. Phys. 140 (2014) 214106.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.guess.base import Guess, fix_gauge, fractions, normal, straight_line
from tpsctl.guess.pairs import PairTargets, relaxed, rigid_pairs, weights_of
from tpsctl.molecule.topology import Topology

SMOOTHING_ROUNDS = 4
"""Number of times that the random displacement is averaged over bonded neighbors."""


class IdppGuess(Guess):
    """Paths of interpolated distances, bent at random in the middle.

    Args:
        topology: Bonds of the molecule.
        spread_nm: Root-mean-square displacement of the random middle, nm; 0 makes all paths equal.
        max_steps: Most L-BFGS iterations.

    Source: Smidstrup et al., J. Chem. Phys. 140 (2014) 214106.
    """

    def __init__(self, topology: Topology, *, spread_nm: float = 0.05, max_steps: int = 60) -> None:
        self._spread_nm = spread_nm
        self._max_steps = max_steps
        self._topology = topology

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        path = straight_line(ends, images)
        s = fractions(ends, images).reshape(-1, 1, 1)
        first, last = torch.cdist(ends[0], ends[0]), torch.cdist(ends[1], ends[1])
        target = (1 - s) * first + s * last
        if self._spread_nm > 0:
            bend = self._random_field(ends, generator)
            middle = (ends[0] + ends[1]) / 2
            change = torch.cdist(middle + bend, middle + bend) - torch.cdist(middle, middle)
            change = change.masked_fill(rigid_pairs(self._topology).to(change.device), 0.0)
            wave = torch.sin(math.pi * s)
            # A bend may not ask for less than half of the shorter of both ends' distances.
            target = torch.maximum(target + wave.square() * change, torch.minimum(first, last) / 2)
            path = path + wave * bend
        no_bounds = torch.zeros_like(first, dtype=torch.bool)
        targets = PairTargets(target, weights_of(target), no_bounds)
        return fix_gauge(relaxed(path, targets, max_steps=self._max_steps), ends)

    def _random_field(self, ends: Tensor, generator: torch.Generator) -> Float[Tensor, "bead 3"]:
        """Displacements that vary slowly along the bonds, with the wanted root mean square."""
        field = normal(ends.shape[1:], generator, ends)
        for _ in range(SMOOTHING_ROUNDS):
            around = enumerate(self._topology.neighbors)
            field = torch.stack([field[[i, *neighbors]].mean(0) for i, neighbors in around])
        field = field - field.mean(0)
        return field * (self._spread_nm / field.square().sum(-1).mean().sqrt())

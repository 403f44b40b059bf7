"""Straight lines in Cartesian coordinates.

They are good for model potentials and as a control. For all-atom molecules they are a bad start, because atoms pass
through each other wherever a group turns (alanine dipeptide: distances of 0.009 nm, 1e8 kJ/mol).
"""

import torch
from torch import Tensor

from tpsctl.guess.base import Guess, straight_line


class LinearGuess(Guess):
    """The straight line between the ends, the same for every path."""

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        return straight_line(ends, images)

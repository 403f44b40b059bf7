"""Straight lines in Cartesian coordinates.

Good for model potentials and as a control. For all atoms it is a bad start: atoms pass through each
other wherever the path turns something (alanine dipeptide: distances of 0.009 nm, 1e8 kJ/mol).
"""

import torch
from torch import Tensor

from tpsctl.guess.base import Guess, straight_line


class LinearGuess(Guess):
    """The same straight line for every path."""

    def draw_one(self, ends: Tensor, images: int, generator: torch.Generator, index: int) -> Tensor:
        return straight_line(ends, images)

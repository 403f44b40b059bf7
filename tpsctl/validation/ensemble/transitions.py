"""Transition paths in a long simulation: its crossings from one state to the other along a reaction coordinate.

State A is where the coordinate q is at most `low`, state B where it is at least `high`. A transition path is the piece
between the last frame in one state and the next frame in the other. Excursions that return to the state they came from
are none. Between two transitions the state is the one visited last, so that a fluctuation about a threshold does not
count as a crossing.

Source: Hummer, J. Chem. Phys. 120 (2004) 516, for the definition of transition paths.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Transition:
    """A crossing between the two states.

    Attributes:
        first: Index of the last frame in the state that is left.
        last: Index of the first frame in the state that is reached.
        forward: Whether it leads from low to high values of the coordinate.
    """

    first: int
    last: int
    forward: bool

    def frames(self) -> Int[Tensor, " frame"]:
        """Indices of all frames of the path in the direction from low to high, both ends included."""
        found = torch.arange(self.first, self.last + 1)
        return found if self.forward else found.flip(0)


def find_transitions(
    q: Float[Tensor, " frame"], trajectories: Int[Tensor, " frame"], *, low: float, high: float
) -> list[Transition]:
    """All transition paths of some trajectories, in the order of their frames.

    Args:
        q: The reaction coordinate of every frame.
        trajectories: Number of the trajectory that each frame belongs to; the frames of one follow one another in time.
        low: Largest value in state A.
        high: Least value in state B, greater than `low`.
    """
    if not low < high:
        raise ValueError(f"low: got {low}, expected a value below high ({high})")
    states = torch.where(q <= low, 0, torch.where(q >= high, 1, -1)).tolist()
    numbers, found = trajectories.tolist(), []
    number, state, left = None, -1, -1
    for frame, here in enumerate(states):
        if numbers[frame] != number:
            number, state = numbers[frame], -1
        if here < 0:
            continue
        if state >= 0 and here != state:
            found.append(Transition(left, frame, forward=here == 1))
        state, left = here, frame
    return found

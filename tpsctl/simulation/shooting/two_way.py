"""Transition paths by aimless two-way shooting with flexible length.

From a frame of the present path, chosen uniformly among the n_old frames between the states, a trajectory goes forward
and one backward in time, with new velocities from the Maxwell-Boltzmann distribution, each until it reaches a state.
If one arrives in A and the other in B, they are a new path, which is accepted with the chance

    min(1, n_old / n_new) .

This keeps the equilibrium distribution of all trajectories from A to B: the new path would have chosen the frame with
the chance 1 / n_new. The number of the acceptance is drawn first, so that a trajectory that is too long to be accepted
is not followed to its end.

Source: Bolhuis, Chandler, Dellago, Geissler, Annu. Rev. Phys. Chem. 53 (2002) 291; Peters and Trout, J. Chem. Phys. 125
(2006) 054108.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import TpsctlError
from tpsctl.simulation.shooting.dynamics import Arrival, Flight, Propagator, ShotSeed
from tpsctl.simulation.shooting.states import TwoStates

_MOST_ATTEMPTS = 200
"""Shots from the start of a chain until one joins the states."""

_STARTING, _MOVING, _CHOOSING = 0, 1, 3


class TrialOutcome(StrEnum):
    """What became of a trial."""

    ACCEPTED = "accepted"
    SAME_STATE = "both ways to one state"
    TOO_LONG = "too long to be accepted"
    OVER_TIME = "over the longest time"
    FAILED = "broke down"


@dataclass(frozen=True)
class TwoWay:
    """Two-way shooting.

    Attributes:
        propagator: The dynamics.
        states: A and B.
        longest_ps: Longest time of each of the two ways, ps. Paths beyond it are left out, and counted.
    """

    propagator: Propagator
    states: TwoStates
    longest_ps: float

    def first_path(self, x: Float[Tensor, "bead dim"], words: tuple[int, ...]) -> Float[Tensor, "frame bead dim"]:
        """A path from A to B through a configuration, nm.

        Args:
            x: The configuration, nm, between the states.
            words: What the random numbers depend on.

        Raises:
            TpsctlError: No shot joins the states.
        """
        for attempt in range(_MOST_ATTEMPTS):
            found = self._shot(x, (*words, _STARTING, attempt), self.propagator.frames_within(self.longest_ps))
            if isinstance(found, Tensor):
                return found
        raise TpsctlError(
            f"no trajectory from the start joins A and B in {_MOST_ATTEMPTS} shots both ways. Start from an image with "
            "a committor near 1/2 (--images), allow more --longest-ps, or widen the states."
        )

    def trial(
        self, path: Float[Tensor, "frame bead dim"], words: tuple[int, ...], number: int
    ) -> tuple[Tensor, TrialOutcome]:
        """The path after one trial, which is the old one unless the new one is accepted, and how the trial went."""
        random = np.random.default_rng(np.random.SeedSequence([*words, _CHOOSING, number]))
        between = len(path) - 2
        chosen = 1 + int(random.integers(between))
        most = int(between / (1.0 - random.random()))  # u in (0, 1]: accepted if n_new <= n_old / u
        longest = self.propagator.frames_within(self.longest_ps)
        found = self._shot(path[chosen], (*words, _MOVING, number), min(most, longest))
        if isinstance(found, Tensor):
            return (found, TrialOutcome.ACCEPTED) if len(found) - 2 <= most else (path, TrialOutcome.TOO_LONG)
        if found is TrialOutcome.OVER_TIME and most < longest:
            return path, TrialOutcome.TOO_LONG
        return path, found

    def _shot(self, x: Tensor, words: tuple[int, ...], frames: int) -> Tensor | TrialOutcome:
        """The path through a configuration, from A to B; or why there is none."""
        ways: list[Flight] = []
        for backward in (True, False):
            seed = ShotSeed(words, backward)
            longest_ps = frames * self.propagator.frame_ps
            (flight,) = self.propagator.fly(x.unsqueeze(0), [seed], self.states, longest_ps, keep=True)
            if flight.arrival is Arrival.FAILED:
                return TrialOutcome.FAILED
            if flight.arrival is Arrival.NEITHER:
                return TrialOutcome.OVER_TIME
            ways.append(flight)
        before, after = ways
        if before.arrival is after.arrival:
            return TrialOutcome.SAME_STATE
        whole = torch.cat((before.frames.flip(0), after.frames[1:]))
        return whole if before.arrival is Arrival.A else whole.flip(0)

"""The interface of the dynamics that shots are made with.

A shot starts from an image, and ends when it reaches a state or when its time is over. Its random numbers depend on its
own seed only, so a shot is the same whatever was computed before it, and in whichever process.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.simulation.shooting.states import IN_A, IN_B, NEITHER, TwoStates

_LARGEST_SEED = 2**31 - 1


class Arrival(StrEnum):
    """How a shot ended: in A, in B, in neither within its time, or with coordinates that are not finite."""

    A = "A"
    B = "B"
    NEITHER = "neither"
    FAILED = "failed"


@dataclass(frozen=True)
class ShotSeed:
    """What the random numbers of a shot depend on.

    Attributes:
        words: The recipe's seed, the image or chain, the number of the shot.
        backward: Whether the shot goes backward in time: it has the opposite velocities of the one that goes forward
            with the same words, and random forces of its own.
    """

    words: tuple[int, ...]
    backward: bool = False

    @property
    def velocities(self) -> np.random.Generator:
        """Random numbers for the velocities; the same both ways."""
        return np.random.default_rng(np.random.SeedSequence([*self.words, 0]))

    @property
    def noise(self) -> np.random.SeedSequence:
        """Where the random forces come from; different both ways."""
        return np.random.SeedSequence([*self.words, 2 if self.backward else 1])

    @property
    def noise_seed(self) -> int:
        """A seed of the random forces for OpenMM, 1 ... 2^31 - 1."""
        return int(self.noise.generate_state(1)[0]) % _LARGEST_SEED + 1


@dataclass(frozen=True)
class Flight:
    """What became of a shot.

    Attributes:
        arrival: How it ended.
        length_ps: Time from the start to the first frame in a state, or to its end.
        frames: Every frame from the start to there (frame, bead, dim), nm, if they were wanted; else the last one.
    """

    arrival: Arrival
    length_ps: float
    frames: Float[Tensor, "frame bead dim"]


class Propagator(ABC):
    """Makes shots.

    Attributes:
        frame_ps: Time between two frames, at which the states are looked for.
    """

    frame_ps: float

    @abstractmethod
    def fly(
        self,
        x: Float[Tensor, "shot bead dim"],
        seeds: Sequence[ShotSeed],
        states: TwoStates,
        longest_ps: float,
        *,
        keep: bool = False,
    ) -> list[Flight]:
        """Shoot from configurations (nm) until each shot reaches a state or its time is over.

        Args:
            x: Where the shots start.
            seeds: Their seeds.
            states: Where they end.
            longest_ps: Longest time of a shot.
            keep: Whether to keep all frames.
        """

    def frames_within(self, longest_ps: float) -> int:
        """Number of frames after the first one in a time."""
        return max(1, round(longest_ps / self.frame_ps))


def arrival_of(where: Tensor) -> Arrival:
    """The arrival in the state of `TwoStates.where`."""
    return {IN_A: Arrival.A, IN_B: Arrival.B, NEITHER: Arrival.NEITHER}[int(where)]


def first_arrival(where: Tensor) -> int | None:
    """The first frame that is in a state; None if there is none."""
    hits = torch.nonzero(where != NEITHER)
    return int(hits[0]) if len(hits) else None

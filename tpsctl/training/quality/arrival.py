"""How well a field between snapshots carries one to the next: the verdict on Action Matching over physical time.

Held-out frames of the first snapshot are carried along the field to the time of each later one and compared with
held-out frames of it by the energy distance, which is zero for equal laws only. Beside it stand two numbers without a
model: the distance between two halves of the later snapshot, which statistics allow, and the distance from the first
snapshot, which standing still would have.

Source: Szekely and Rizzo, J. Stat. Plan. Inference 143 (2013) 1249 (energy distance).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import pair_distances

MOST_OF_THE_WAY, FLOORS = 0.05, 3.0
"""Largest distance on arrival, of that of standing still; or this multiple of the floor where that is larger."""


@dataclass(frozen=True)
class SnapshotArrival:
    """Carried frames at the time of one snapshot.

    Attributes:
        time_ps: Time of the snapshot, ps.
        frames: Number of carried frames, and of frames in each half.
        distance_nm: Energy distance of the carried frames from the snapshot, nm.
        floor_nm: Energy distance between two halves of the snapshot, nm.
        unmoved_nm: Energy distance of the first snapshot from this one, nm.
    """

    time_ps: float
    frames: int
    distance_nm: float
    floor_nm: float
    unmoved_nm: float

    @property
    def is_sound(self) -> bool:
        """Whether the carried frames cannot be told from the snapshot, or nearly not compared with the way."""
        return self.distance_nm <= max(MOST_OF_THE_WAY * self.unmoved_nm, FLOORS * self.floor_nm)


@dataclass(frozen=True)
class TransportVerdict:
    """Whether a field carries the first snapshot to all others.

    Attributes:
        arrivals: What was measured at the later snapshots, in the order of time.
    """

    arrivals: tuple[SnapshotArrival, ...]

    @property
    def is_fit(self) -> bool:
        """Whether every snapshot is reached."""
        return all(arrival.is_sound for arrival in self.arrivals)

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        worst = max(self.arrivals, key=lambda arrival: (not arrival.is_sound, arrival.distance_nm))
        found = (
            f"{worst.distance_nm:.2g} nm from the snapshot at {worst.time_ps:g} ps (energy distance; two halves of it: "
            f"{worst.floor_nm:.2g} nm, without moving: {worst.unmoved_nm:.2g} nm)"
        )
        if not self.is_fit:
            return f"do not use: carried frames arrive {found}."
        return f"carries the first snapshot to all others; frames arrive at most {found}."

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for a model card."""
        return {
            "fit_for_paths": self.is_fit,
            "words": self.words,
            "arrivals": [asdict(arrival) for arrival in self.arrivals],
        }


def energy_distance(a: Float[Tensor, "frame feature"], b: Float[Tensor, "other feature"]) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'| over all pairs of frames, in the unit of the features; never negative."""
    between, within_a, within_b = (float(torch.cdist(x, y).mean()) for x, y in ((a, b), (a, a), (b, b)))
    return max(0.0, 2 * between - within_a - within_b)


def features(x: Float[Tensor, "frame bead dim"]) -> Float[Tensor, "frame feature"]:
    """Coordinates of points; for molecules all distances between beads, scaled so that norms are root mean squares."""
    if x.shape[1] == 1:
        return x.flatten(1)
    distances = pair_distances(x)
    return distances / distances.shape[1] ** 0.5


def arrival(
    carried: Float[Tensor, "frame bead dim"],
    snapshot: Float[Tensor, "other bead dim"],
    first: Float[Tensor, "start bead dim"],
    time_ps: float,
) -> SnapshotArrival:
    """Compare carried frames with a snapshot; all lengths in nm, and as many frames of each as in half a snapshot."""
    count = max(1, min(len(carried), len(snapshot) // 2, len(first)))
    here, half, other, start = (features(x[:count].double()) for x in (carried, snapshot, snapshot[-count:], first))
    return SnapshotArrival(
        time_ps, count, energy_distance(here, half), energy_distance(half, other), energy_distance(start, half)
    )


def split(
    snapshots: Sequence[Float[Tensor, "frame bead dim"]], generator: torch.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Training frames and held-out ones of every snapshot: a random fifth is held out.

    A snapshot of fewer than ten frames is used for both.
    """
    kept, held_out = [], []
    for frames in snapshots:
        order = torch.randperm(len(frames), generator=generator)
        count = len(frames) // 5 if len(frames) >= 10 else 0
        kept.append(frames[order[count:]])
        held_out.append(frames[order[:count]] if count else frames)
    return kept, held_out

"""How well a field between snapshots carries one to the next: the verdict on Action Matching over physical time.

Held-out frames of the first snapshot are carried along the field to the time of each later one and compared with
held-out frames of it by the energy distance, which is zero for equal laws only. Beside it stand two numbers without a
model: the distance between two halves of the later snapshot, which statistics allow, and the distance from the first
snapshot, which standing still would have.

Where frames gain or lose weight, the distance is that of the weighted frames. Weights leave fewer effective frames, so
one of the two halves has no more than these. The mass is the mean of the weights: snapshots are normalized, so that it
is 1 for a perfect field.

Source: Szekely and Rizzo, J. Stat. Plan. Inference 143 (2013) 1249 (energy distance).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.molecule.geometry import pair_distances
from tpsctl.score.transport import effective_size

MOST_OF_THE_WAY, FLOORS = 0.05, 3.0
"""Largest distance on arrival, of that of standing still; or this multiple of the floor where that is larger."""

FEWEST_EFFECTIVE = 10
"""Fewest effective frames that weights may leave; of fewer than twice as many frames, a half."""


@dataclass(frozen=True)
class SnapshotArrival:
    """Carried frames at the time of one snapshot.

    Attributes:
        time_ps: Time of the snapshot, ps.
        frames: Number of carried frames, and of frames in each half.
        distance_nm: Energy distance of the carried frames from the snapshot, nm.
        floor_nm: Energy distance between two halves of the snapshot, nm.
        unmoved_nm: Energy distance of the first snapshot from this one, nm.
        effective_size: Effective number of the weighted frames over their number; None if frames have no weights.
        mass: Mean weight of the frames; None if they have none.
    """

    time_ps: float
    frames: int
    distance_nm: float
    floor_nm: float
    unmoved_nm: float
    effective_size: float | None = None
    mass: float | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the carried frames cannot be told from the snapshot, or nearly not compared with the way."""
        arrives = self.distance_nm <= max(MOST_OF_THE_WAY * self.unmoved_nm, FLOORS * self.floor_nm)
        return arrives and self.has_enough_frames

    @property
    def has_enough_frames(self) -> bool:
        """Whether the weights leave enough effective frames for a comparison."""
        if self.effective_size is None:
            return True
        return self.effective_size * self.frames >= min(FEWEST_EFFECTIVE, self.frames / 2)


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
        for few in (arrival for arrival in self.arrivals if not arrival.has_enough_frames):
            return (
                f"do not use: at {few.time_ps:g} ps the weights of {few.frames} carried frames are so unequal that "
                f"they count as {few.frames * (few.effective_size or 0):.1f}. Give a larger model.growth_length_nm."
            )
        worst = max(self.arrivals, key=lambda arrival: (not arrival.is_sound, arrival.distance_nm))
        found = (
            f"{worst.distance_nm:.2g} nm from the snapshot at {worst.time_ps:g} ps (energy distance; two halves of it: "
            f"{worst.floor_nm:.2g} nm, without moving: {worst.unmoved_nm:.2g} nm)"
        )
        if not self.is_fit:
            return f"do not use: carried frames arrive {found}."
        sizes = [arrival.effective_size for arrival in self.arrivals if arrival.effective_size is not None]
        weighted = f"; effective size of their weights at least {min(sizes):.2f}" if sizes else ""
        return f"carries the first snapshot to all others; frames arrive at most {found}{weighted}."

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for a model card."""
        return {
            "fit_for_paths": self.is_fit,
            "words": self.words,
            "arrivals": [asdict(arrival) for arrival in self.arrivals],
        }


def energy_distance(
    a: Float[Tensor, "frame feature"],
    b: Float[Tensor, "other feature"],
    log_weights: Float[Tensor, " frame"] | None = None,
) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'| over all pairs of frames, in the unit of the features; never negative.

    Args:
        a: Frames.
        b: Other frames, all of weight 1.
        log_weights: Logarithms of the weights of a; None if they are equal.
    """
    equal = [x.new_full((len(x),), 1 / len(x)) for x in (a, b)]
    w = equal[0] if log_weights is None else torch.softmax(log_weights.to(a), 0)
    between = w @ torch.cdist(a, b) @ equal[1]
    within = w @ torch.cdist(a, a) @ w + equal[1] @ torch.cdist(b, b) @ equal[1]
    return max(0.0, float(2 * between - within))


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
    log_weights: Float[Tensor, " frame"] | None = None,
) -> SnapshotArrival:
    """Compare carried frames with a snapshot; all lengths in nm, and as many frames of each as in half a snapshot.

    Args:
        carried: Frames of the first snapshot, carried to the time of this one.
        snapshot: Frames of this snapshot.
        first: Frames of the first snapshot.
        time_ps: Time of this snapshot, ps.
        log_weights: Logarithms of the weights of the carried frames; None if frames neither gain nor lose weight.
    """
    count = max(1, min(len(carried), len(snapshot) // 2, len(first)))
    here, half, other, start = (features(x[:count].double()) for x in (carried, snapshot, snapshot[-count:], first))
    unmoved = energy_distance(start, half)
    if log_weights is None:
        return SnapshotArrival(time_ps, count, energy_distance(here, half), energy_distance(half, other), unmoved)
    weights = log_weights[:count].double()
    size = effective_size(weights)
    floor = energy_distance(half, other[: max(1, round(size * count))])
    mass = float(weights.exp().mean())
    return SnapshotArrival(time_ps, count, energy_distance(here, half, weights), floor, unmoved, size, mass)


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

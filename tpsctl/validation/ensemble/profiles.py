"""How contacts form along transition paths, and how an ensemble of paths differs from that of a simulation.

The contact formation profile is the mean of every contact's formation c over all frames of all paths whose reaction
coordinate q lies in a bin,

    P[bin, contact] = < c_contact >   over frames with  edge[bin] <= q < edge[bin + 1].

At equal q, ensembles that fold by different mechanisms have different contacts formed. Two profiles are compared by
their mean absolute difference and their correlation over all bins and contacts. What these would be for a perfect
ensemble of n paths is found by comparing random sets of n paths of the simulation with all the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class PathContacts:
    """One path as its contacts see it.

    Attributes:
        formed: Formation of each contact, 0 to 1.
        q: The reaction coordinate of every frame, by which frames are put into bins.
    """

    formed: Float[Tensor, "frame contact"]
    q: Float[Tensor, " frame"]


@dataclass(frozen=True)
class Difference:
    """How two profiles differ over the bins that both have.

    Attributes:
        mean: Mean absolute difference of contact probabilities.
        correlation: Pearson correlation of contact probabilities; NaN if one of the profiles is constant.
        bins: Number of bins compared.
    """

    mean: float
    correlation: float
    bins: int


def contact_profile(paths: Sequence[PathContacts], edges: Sequence[float]) -> Float[Tensor, "bin contact"]:
    """Mean formation of every contact in bins of the reaction coordinate; NaN in a bin without frames.

    Args:
        paths: The paths; every frame counts once.
        edges: Limits of the bins, ascending.
    """
    formed, q = torch.cat([path.formed for path in paths]), torch.cat([path.q for path in paths])
    limits = torch.tensor(edges, dtype=q.dtype)
    bins = torch.bucketize(q, limits, right=True) - 1
    inside = (bins >= 0) & (bins < len(edges) - 1)
    total = formed.new_zeros(len(edges) - 1, formed.shape[1]).index_add_(0, bins[inside], formed[inside])
    count = torch.bincount(bins[inside], minlength=len(edges) - 1)
    return torch.where(count.unsqueeze(1) > 0, total / count.clamp_min(1).unsqueeze(1), torch.nan)


def compare(profile: Float[Tensor, "bin contact"], reference: Float[Tensor, "bin contact"]) -> Difference:
    """Compare two profiles of the same contacts over the bins in which both have frames.

    Raises:
        ValueError: There is no such bin.
    """
    known = ~(profile.isnan() | reference.isnan()).any(1)
    if not bool(known.any()):
        raise ValueError("the two ensembles have no bin in common")
    a, b = profile[known].flatten(), reference[known].flatten()
    correlation = torch.corrcoef(torch.stack((a, b)))[0, 1]
    return Difference(float((a - b).abs().mean()), float(correlation), int(known.sum()))


def sampling_error(
    paths: Sequence[PathContacts], edges: Sequence[float], *, count: int, draws: int, generator: torch.Generator
) -> list[Difference]:
    """How random sets of `count` of the paths differ from the other paths: what sampling alone costs.

    Args:
        paths: All transition paths of a simulation, more than twice as many as `count`.
        edges: Limits of the bins.
        count: Paths in a set, as many as the ensemble to be judged has.
        draws: Number of random sets.
        generator: Source of randomness.

    Raises:
        ValueError: There are too few paths.
    """
    if len(paths) <= 2 * count:
        raise ValueError(f"got {len(paths)} paths, expected more than {2 * count} to judge sets of {count}")
    found = []
    for _ in range(draws):
        order = torch.randperm(len(paths), generator=generator).tolist()
        some, others = [paths[k] for k in order[:count]], [paths[k] for k in order[count:]]
        found.append(compare(contact_profile(some, edges), contact_profile(others, edges)))
    return found


def lead(
    profile: Float[Tensor, "bin contact"], first: Bool[Tensor, " contact"], second: Bool[Tensor, " contact"]
) -> float:
    """How much further a first group of contacts is formed than a second one, as a mean over the bins that have frames.

    It is positive where the first group forms before the second, from -1 to 1.
    """
    known = ~profile.isnan().any(1)
    return float((profile[known][:, first].mean(1) - profile[known][:, second].mean(1)).mean())


def forms_first(path: PathContacts, first: Bool[Tensor, " contact"], second: Bool[Tensor, " contact"]) -> float:
    """Whether the first group of contacts is half formed for good before the second: 1 if so, 0 if not, 1/2 if at once.

    A group is half formed for good after the last frame in which the mean of its contacts is below 1/2.
    """
    times = []
    for group in (first, second):
        below = (path.formed[:, group].mean(1) < 0.5).nonzero()
        times.append(int(below[-1]) if len(below) else -1)
    return 0.5 if times[0] == times[1] else float(times[0] < times[1])

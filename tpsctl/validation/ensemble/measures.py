"""What tells an ensemble of paths from the transition paths of a simulation, as numbers with error bars.

Every path is first reduced to a `PathFacts`; an ensemble is a weighted set of them, so that resampling it changes only
weights. With E the ensemble and M the transition paths of the simulation, the measures are

    visited_states_js_distance   sqrt( JS(p_E, p_M) ), nats^1/2 from 0 to sqrt(ln 2) = 0.833, of the distributions of
                                 visited microstates; a path counts once in every microstate that it visits
    profile_difference           mean absolute difference of the progress of every event in bins of q
    profile_correlation          Pearson correlation of the same numbers
    order_difference             mean over pairs of events of |P_E(i before j) - P_M(i before j)|; an event happens
                                 where its progress is at least 1/2 for good
    highest_free_energy_kj_per_mol   median over paths of the highest free energy of an image
    outside_fraction             fraction of images where the simulation never was
    crosses_transition_state     fraction of paths with an image in a microstate with committor 0.4 to 0.6

with JS(p, q) = KL(p, m)/2 + KL(q, m)/2, m = (p + q)/2. JS is estimated in the same way, from counts without any
correction, for all rows; its bias by the finite number of paths is in the rows of the simulation, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.validation.ensemble.free_energy_map import FreeEnergyMap
from tpsctl.validation.ensemble.markov import Microstates, nearest
from tpsctl.validation.ensemble.observables import Observables

TRANSITION_STATE = (0.4, 0.6)
"""Committors of the transition state."""


@dataclass(frozen=True)
class PathFacts:
    """Paths as the measures see them; every tensor has one row per path.

    Attributes:
        visits: 1 for every microstate that a path visits, else 0.
        progress_sum: Sum of the progress of every event over the images in every bin of q.
        bin_count: Number of images in every bin of q.
        before: For every pair of events i < j, 1 if i happens first, 0 if j does, 1/2 if both at the same image.
        highest: Highest free energy of an image, kJ/mol.
        outside: Fraction of images where the simulation never was.
        crosses: 1 if an image is in the transition state, else 0.
    """

    visits: Float[Tensor, "path state"]
    progress_sum: Float[Tensor, "path bin event"]
    bin_count: Float[Tensor, "path bin"]
    before: Float[Tensor, "path pair"]
    highest: Float[Tensor, " path"]
    outside: Float[Tensor, " path"]
    crosses: Float[Tensor, " path"]

    def __len__(self) -> int:
        return len(self.highest)

    def take(self, which: Int[Tensor, " some"]) -> "PathFacts":
        """The facts of some of the paths."""
        return PathFacts(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


@dataclass(frozen=True)
class PathReader:
    """Reduces paths to their facts.

    Attributes:
        observables: Features and events.
        microstates: Microstates of the simulation.
        committor: Committor of every microstate.
        free_energy: Free energy over the slow coordinates.
        edges: Limits of the bins of q, ascending.
    """

    observables: Observables
    microstates: Microstates
    committor: Float[Tensor, " state"]
    free_energy: FreeEnergyMap
    edges: Sequence[float]

    def read(self, paths: Sequence[Float[Tensor, "_ bead 3"]]) -> PathFacts:
        """The facts of paths in nm, from A to B."""
        rows = [self._row(path) for path in paths]
        return PathFacts(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    def _row(self, path: Tensor) -> dict[str, Tensor]:
        slow = self.microstates.project(self.observables.features(path))
        progress = self.observables.progress(path)
        states = nearest(slow, self.microstates.centers)
        visits = torch.zeros(len(self.committor), dtype=torch.float64)
        visits[states] = 1.0
        sums, count = in_bins(progress, self.edges)
        height, known = self.free_energy.at(slow)
        q = self.committor[states]
        low, high = TRANSITION_STATE
        return {
            "visits": visits,
            "progress_sum": sums,
            "bin_count": count,
            "before": happens_before(progress),
            "highest": height.max(),
            "outside": (~known).double().mean(),
            "crosses": ((q >= low) & (q <= high)).any().double(),
        }


def in_bins(progress: Float[Tensor, "image event"], edges: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Sum of every event's progress over the images in each bin of the mean progress q, and the image counts."""
    limits = torch.tensor(edges, dtype=progress.dtype)
    place = torch.bucketize(progress.mean(1), limits, right=True) - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    sums = progress.new_zeros(len(edges) - 1, progress.shape[1]).index_add_(0, place[inside], progress[inside])
    return sums, torch.bincount(place[inside], minlength=len(edges) - 1).double()


def happens_before(progress: Float[Tensor, "image event"]) -> Float[Tensor, " pair"]:
    """For every pair of events i < j, 1 if i happens first, 0 if j does, 1/2 if both at the same image.

    An event happens after the last image where its progress is below 1/2.
    """
    images = torch.arange(1, len(progress) + 1).unsqueeze(1)
    times = torch.where(progress < 0.5, images, 0).amax(0)
    i, j = torch.triu_indices(len(times), len(times), 1)
    return torch.where(times[i] == times[j], 0.5, (times[i] < times[j]).double())


def js_distance(p: Float[Tensor, "*batch state"], q: Float[Tensor, "*batch state"]) -> Float[Tensor, "*batch"]:
    """Square root of the Jensen-Shannon divergence in nats of two distributions, which need not be normalized."""
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    m = (p + q) / 2
    divergence = (torch.xlogy(p, p / m.clamp_min(1e-300)) + torch.xlogy(q, q / m.clamp_min(1e-300))).sum(-1) / 2
    return divergence.clamp_min(0).sqrt()


# --- measures of weighted ensembles, one value per draw of the weights -------------------------------------

Weights = Float[Tensor, "draw path"]


def visited_states(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Jensen-Shannon distance of visited microstates."""
    return js_distance(we @ e.visits, wm @ m.visits)


def profile(e: PathFacts, we: Weights) -> Float[Tensor, "draw bin event"]:
    """Mean progress of every event in bins of q; NaN in a bin without images."""
    return torch.einsum("dp,pbe->dbe", we, e.progress_sum) / (we @ e.bin_count).unsqueeze(-1)


def profile_difference(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Mean absolute difference of two profiles over the bins that both have."""
    return (profile(e, we) - profile(m, wm)).abs().flatten(1).nanmean(1)


def profile_correlation(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Pearson correlation of two profiles over the bins that both have; NaN if one of them is constant."""
    found = []
    for a, b in zip(profile(e, we).flatten(1), profile(m, wm).flatten(1), strict=True):
        known = ~(a.isnan() | b.isnan())
        enough = int(known.sum()) > 1
        found.append(torch.corrcoef(torch.stack((a[known], b[known])))[0, 1] if enough else a.new_tensor(math.nan))
    return torch.stack(found)


def order_difference(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Mean absolute difference of the probabilities that one event precedes another; NaN for a single event."""
    return (_mean(we, e.before) - _mean(wm, m.before)).abs().mean(1)


def highest_free_energy(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Median over paths of the highest free energy, kJ/mol."""
    order = e.highest.argsort()
    share = (we[:, order] / we.sum(1, keepdim=True)).cumsum(1)
    return e.highest[order][(share < 0.5 - 1e-12).sum(1).clamp_max(len(order) - 1)]


def outside_fraction(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Fraction of images where the simulation never was."""
    return _mean(we, e.outside.unsqueeze(1)).squeeze(1)


def crosses_transition_state(e: PathFacts, we: Tensor, m: PathFacts, wm: Tensor) -> Float[Tensor, " draw"]:
    """Fraction of paths with an image in the transition state."""
    return _mean(we, e.crosses.unsqueeze(1)).squeeze(1)


def _mean(weights: Tensor, values: Float[Tensor, "path n"]) -> Float[Tensor, "draw n"]:
    return weights @ values / weights.sum(1, keepdim=True)


Measure = Callable[[PathFacts, Tensor, PathFacts, Tensor], Float[Tensor, " draw"]]

MEASURES: dict[str, Measure] = {
    "visited_states_js_distance": visited_states,
    "profile_difference": profile_difference,
    "profile_correlation": profile_correlation,
    "order_difference": order_difference,
    "highest_free_energy_kj_per_mol": highest_free_energy,
    "outside_fraction": outside_fraction,
    "crosses_transition_state": crosses_transition_state,
}
"""Every measure by its name, which is also the column of comparison.csv."""

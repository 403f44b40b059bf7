"""A Markov model of simulated trajectories, with the committor between two states.

    features -> slow coordinates (TICA) -> microstates (k-means) -> transition matrix T at a lag time
             -> metastable sets (PCCA+) -> cores A and B -> committor q

Microstates that are not connected to the others in both directions are dropped, and their frames go to the nearest
microstate that is left. T obeys detailed balance and is the one of largest likelihood. The metastable sets are the
fewest, from two on, that separate the two ends. A core has the microstates whose membership in its set is at least
`CORE_MEMBERSHIP`, and at least the one of largest membership.

A lag is long enough if relaxation times no longer grow with it. t(L) = -L / ln l_2 with the second eigenvalue l_2 of T
is the slowest implied timescale at the lag L; the automatic lag is the first of a series for which t(2 L) is at most
`PLATEAU` times t(L).

Sources: Perez-Hernandez et al., J. Chem. Phys. 139 (2013) 015102 (TICA); Prinz et al., J. Chem. Phys. 134 (2011) 174105
(estimation and implied timescales); Roeblitz and Weber, Adv. Data Anal. Classif. 7 (2013) 147 (PCCA+); Metzner,
Schuette and Vanden-Eijnden, Multiscale Model. Simul. 7 (2009) 1192 (committor and rate).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tpsctl.errors import MissingDependencyError, ValidationError

CORE_MEMBERSHIP = 0.9
MOST_SETS = 8
PLATEAU = 1.1
LAGS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FRAMES_OF_CLUSTERING = 20_000
"""Of more frames than these, evenly spread ones decide the microstates; all frames are assigned."""


@dataclass(frozen=True)
class MarkovSettings:
    """How a Markov model is estimated.

    Attributes:
        lag: Lag time, frames; None to choose it from the implied timescales.
        clusters: Number of microstates that are sought.
        dimensions: Most slow coordinates that microstates are told apart by.
        seed: Seed of the clustering.
    """

    lag: int | None = None
    clusters: int = 100
    dimensions: int = 3
    seed: int = 1


@dataclass(frozen=True)
class Microstates:
    """The slow coordinates, and the microstates as the regions nearest to their centers.

    Attributes:
        mean: Mean of the features.
        axes: Linear map from features to slow coordinates, the slowest first.
        centers: Centers of the microstates in slow coordinates.
        tica_lag: Lag time of the slow coordinates, frames.
    """

    mean: Float[Tensor, " feature"]
    axes: Float[Tensor, "feature dim"]
    centers: Float[Tensor, "state dim"]
    tica_lag: int

    def project(self, features: Float[Tensor, "frame feature"]) -> Float[Tensor, "frame dim"]:
        """Slow coordinates of configurations."""
        return (features - self.mean) @ self.axes

    def assign(self, features: Float[Tensor, "frame feature"]) -> Int[Tensor, " frame"]:
        """The microstate of every configuration."""
        return nearest(self.project(features), self.centers)


@dataclass(frozen=True)
class Chain:
    """A Markov chain of microstates with two states A and B.

    Attributes:
        stationary: Equilibrium probability of every microstate.
        committor: Probability to reach B before A; 0 in A and 1 in B.
        timescale: Slowest implied timescale, frames.
        rate: Rate constant A to B, per frame: reactive flux over the probability to come from A.
    """

    stationary: Float[Tensor, " state"]
    committor: Float[Tensor, " state"]
    timescale: float
    rate: float


@dataclass(frozen=True)
class SlowAxes:
    """A linear map from features to slow coordinates, by TICA.

    Attributes:
        mean: Mean of the features.
        axes: The map, the slowest coordinate first.
        lag: Lag time, frames.
    """

    mean: Float[Tensor, " feature"]
    axes: Float[Tensor, "feature dim"]
    lag: int

    def project(self, features: Float[Tensor, "frame feature"]) -> Float[Tensor, "frame dim"]:
        """Slow coordinates of configurations."""
        return (features - self.mean) @ self.axes


def require_deeptime(option: str = "--reference") -> None:
    """Refuse to go on without deeptime.

    Args:
        option: What needs it, for the message.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import deeptime  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            f'{option}: needs package deeptime, not installed. Install: pip install "tpsctl[compare]"'
        ) from None


def slow_axes(
    trajectories: Sequence[Float[Tensor, "frame feature"]], *, dimensions: int, lag: int | None = None
) -> SlowAxes:
    """The slow coordinates of trajectories, scaled to a kinetic map.

    Args:
        trajectories: Features of every trajectory, more frames than the lag in at least one.
        dimensions: Most slow coordinates.
        lag: Lag time, frames; None for at most 10, and at most a twentieth of the longest trajectory.
    """
    from deeptime.decomposition import TICA

    lag = lag or min(10, max(1, max(map(len, trajectories)) // 20))
    long_enough = [x.numpy() for x in trajectories if len(x) > lag]
    dimensions = min(dimensions, trajectories[0].shape[1])
    model = TICA(lagtime=lag, dim=dimensions, scaling="kinetic_map").fit(long_enough).fetch_model()
    mean = torch.cat(list(trajectories)).mean(0)
    unit = np.eye(len(mean))
    offset = model.transform(np.zeros((1, len(mean))))
    axes = np.ascontiguousarray(np.real(model.transform(unit) - offset), dtype=np.float64)
    return SlowAxes(mean, torch.from_numpy(axes), lag)


def find_microstates(trajectories: Sequence[Float[Tensor, "frame feature"]], settings: MarkovSettings) -> Microstates:
    """Slow coordinates and centers of microstates.

    Args:
        trajectories: Features of every trajectory, more frames than the lag in at least one.
        settings: Lag, number of microstates and of slow coordinates.
    """
    from deeptime.clustering import KMeans

    found = slow_axes(trajectories, dimensions=settings.dimensions, lag=settings.lag)
    slow = torch.cat([found.project(x) for x in trajectories])
    some = slow[:: -(-len(slow) // FRAMES_OF_CLUSTERING)].numpy()
    count = min(settings.clusters, len(np.unique(some, axis=0)))
    model = KMeans(count, max_iter=200, fixed_seed=settings.seed, n_jobs=1, progress=None).fit(some).fetch_model()
    centers = torch.from_numpy(np.asarray(model.cluster_centers, dtype=np.float64))
    return Microstates(found.mean, found.axes, centers, found.lag)


def nearest(slow: Float[Tensor, "frame dim"], centers: Float[Tensor, "state dim"]) -> Int[Tensor, " frame"]:
    """Index of the nearest center of every point."""
    return torch.cat([torch.cdist(part, centers).argmin(1) for part in slow.split(50_000)])


def connected(
    microstates: Microstates, trajectories: Sequence[Float[Tensor, "frame feature"]], lag: int
) -> tuple[Microstates, list[Int[Tensor, " frame"]]]:
    """The microstates that are connected at this lag, and the frames' microstates.

    Raises:
        ValidationError: Fewer than two microstates are left.
    """
    slow = [microstates.project(x) for x in trajectories]
    centers = microstates.centers
    while True:
        states = [nearest(x, centers) for x in slow]
        kept = largest_connected_set(count_transitions(states, len(centers), lag))
        if len(kept) < 2:
            raise ValidationError(
                f"at a lag of {lag} frames fewer than two microstates of the reference are joined by transitions in "
                "both directions: the trajectories are too short. Give longer ones, or a smaller --lag."
            )
        if len(kept) == len(centers):
            return Microstates(microstates.mean, microstates.axes, centers, microstates.tica_lag), states
        centers = centers[kept]


def count_transitions(states: Sequence[Int[Tensor, " frame"]], count: int, lag: int) -> Float[Tensor, "state state"]:
    """How often each microstate was followed by each other a lag later, counted from every frame."""
    found = torch.zeros(count * count, dtype=torch.float64)
    for path in states:
        if len(path) > lag:
            found += torch.bincount(path[:-lag] * count + path[lag:], minlength=count * count)
    return found.view(count, count)


def largest_connected_set(counts: Float[Tensor, "state state"]) -> list[int]:
    """The largest set of states that reach one another in both directions."""
    from deeptime.markov.tools.estimation import largest_connected_set as largest

    return sorted(int(k) for k in largest(counts.numpy(), directed=True))


def estimate(counts: Float[Tensor, "state state"]) -> Any:
    """deeptime's reversible Markov model of largest likelihood for counts of connected states."""
    from deeptime.markov.msm import MaximumLikelihoodMSM

    return MaximumLikelihoodMSM(reversible=True).fit_from_counts(counts.numpy()).fetch_model()


def slowest_timescale(model: Any, lag: int) -> float:
    """The slowest implied timescale, frames; NaN if nothing is slower than the lag's resolution allows to tell."""
    value = float(np.sort(np.real(np.linalg.eigvals(model.transition_matrix)))[-2])
    return -lag / math.log(value) if 0 < value < 1 else math.nan


def implied_timescales(states: Sequence[Int[Tensor, " frame"]], count: int, lags: Sequence[int]) -> dict[int, float]:
    """The slowest implied timescale, frames, by lag."""
    found = {}
    for lag in lags:
        counts = count_transitions(states, count, lag)
        kept = largest_connected_set(counts)
        found[lag] = slowest_timescale(estimate(counts[kept][:, kept]), lag) if len(kept) > 1 else math.nan
    return found


def usable_lags(lengths: Sequence[int]) -> tuple[int, ...]:
    """The series of lags that trajectories of these lengths allow: up to a tenth of the longest."""
    return tuple(lag for lag in LAGS if lag == 1 or 10 * lag <= max(lengths))


def plateau_lag(timescales: dict[int, float]) -> tuple[int, bool]:
    """The first lag at which the slowest timescale stops growing, and whether there is one; otherwise the last lag."""
    for lag in timescales:
        following = timescales.get(2 * lag, math.nan)
        if following <= PLATEAU * timescales[lag]:
            return lag, True
    return max(timescales), False


def metastable_sets(model: Any, starts: Int[Tensor, " start"], ends: Int[Tensor, " end"]) -> tuple[Tensor, Tensor, int]:
    """Cores A and B as masks over the microstates, and the number of metastable sets that separate the ends.

    Args:
        model: deeptime's Markov model.
        starts: Microstates of the starts; the set that most of them lie in is A's.
        ends: Microstates of the ends.

    Raises:
        ValidationError: No number of sets separates the ends.
    """
    for count in range(2, min(MOST_SETS, model.n_states) + 1):
        membership = torch.from_numpy(np.array(model.pcca(count).memberships))
        a, b = (int(membership[side].argmax(1).mode().values) for side in (starts, ends))
        if a != b:
            return core(membership[:, a]), core(membership[:, b]), count
    raise ValidationError(
        f"up to {MOST_SETS} metastable sets of the reference do not separate the two ends of the paths: in this "
        "simulation there is no barrier between them, or it was never crossed. Give a longer simulation."
    )


def core(membership: Float[Tensor, " state"]) -> Tensor:
    """Mask of the microstates in the core of a set: those of large membership, at least the largest."""
    return membership >= torch.clamp(membership.max(), max=CORE_MEMBERSHIP)


def solve_chain(model: Any, in_a: Tensor, in_b: Tensor, lag: int) -> Chain:
    """Equilibrium, committor, slowest timescale and rate of deeptime's Markov model between two sets of microstates."""
    a, b = in_a.nonzero().flatten().tolist(), in_b.nonzero().flatten().tolist()
    flux = model.reactive_flux(a, b)
    return Chain(
        stationary=torch.from_numpy(np.array(model.stationary_distribution)),
        committor=torch.from_numpy(np.array(flux.forward_committor)).clamp(0, 1),
        timescale=slowest_timescale(model, lag),
        rate=float(flux.rate) / lag,
    )

"""The simulation as a reference: its trajectories read and matched, its Markov model, and its transition paths."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.match import match
from tpsctl.endpoints.streaming import Ensemble, stream_ensemble
from tpsctl.endpoints.structure import Structure
from tpsctl.errors import EndpointError, RecipeError, ValidationError
from tpsctl.progress import Progress
from tpsctl.validation.ensemble import markov
from tpsctl.validation.ensemble.bootstrap import LEAST_TRANSITIONS, BootstrapEstimate, Yardstick, pieces_of, resampled
from tpsctl.validation.ensemble.free_energy_map import free_energy_map
from tpsctl.validation.ensemble.measures import PathReader
from tpsctl.validation.ensemble.observables import Observables, observables_of
from tpsctl.validation.ensemble.transitions import find_transitions
from tpsctl.workflows.compare.settings import CompareSettings
from tpsctl.workflows.sample.assemble import System
from tpsctl.workflows.stored_run import StoredRun

MOST_FRAMES = 400_000
MAP_BINS = 30
A_BELOW, B_ABOVE = 0.3, 0.7
"""A simulation has visited state A, or B, if the progress q of one of its frames is below, or above."""
FEW_FRAMES = 8
"""Transition paths with fewer frames than this are said to be sampled too coarsely."""


@dataclass(frozen=True)
class Reference:
    """A simulation that ensembles are compared with.

    Attributes:
        reader: Reduces paths to their facts.
        yardstick: The transition paths of the simulation.
        facts: What is known of the simulation and of its model, for the output; JSON values.
        settings: How everything was estimated, for the output; JSON values.
        notes: What a reader should know, one sentence each.
        slow: The first two slow coordinates of some frames, for the figure.
    """

    reader: PathReader
    yardstick: Yardstick
    facts: dict[str, Any]
    settings: dict[str, Any]
    notes: tuple[str, ...]
    slow: Float[Tensor, "frame dim"]


def read_reference(run: StoredRun, system: System, settings: CompareSettings) -> Ensemble:
    """The frames of all trajectories with their atoms in the order of the run's.

    Raises:
        EndpointError: A file cannot be read, or is of another molecule.
        RecipeError: The run is of no molecule, or no topology was named.
    """
    if not system.is_molecule:
        raise RecipeError(
            f"{run.directory}: this run has a point in a model potential, and a reference is compared for molecules. "
            "Leave --reference out; tpsctl.validation.ensemble has the estimators."
        )
    if settings.topology is None:
        raise RecipeError("--reference: got no --topology. Name a structure file with the atoms of the trajectories.")
    select = settings.select or run.manifest["recipe"]["endpoints"]["select"]
    found = stream_ensemble(
        settings.references,
        topology=settings.topology,
        select=select,
        stride=settings.stride,
        most_frames=MOST_FRAMES,
    )
    start = Structure(system.topology, system.ends[0], f"the paths of {run.directory}")
    first = Structure(found.topology, found.trajectories[0][0].double(), str(settings.topology))
    try:
        order = list(match(start, first).order)
    except EndpointError as error:
        raise EndpointError(
            f"the reference does not fit the run: {error} For the beads of the reference, --select chooses atoms."
        ) from None
    trajectories = tuple(x[:, order] for x in found.trajectories)
    return Ensemble(system.topology, trajectories, found.frames, found.stride)


def build_reference(run: StoredRun, system: System, settings: CompareSettings, progress: Progress) -> Reference:
    """Read the trajectories, estimate the Markov model, and find the transition paths.

    Raises:
        EndpointError: A file cannot be read, or is of another molecule.
        RecipeError: A setting is impossible.
        ValidationError: The simulation is too short, or never visits a state.
    """
    markov.require_deeptime()
    frames = read_reference(run, system, settings)
    observed = observables_of(system.topology, run.paths[:, 0], run.paths[:, -1])
    lengths = [len(x) for x in frames.trajectories]
    progress.say(f"reference: {sum(lengths)} frames of {len(lengths)} trajectories, every {frames.stride}. frame")
    features = [observed.features(x) for x in frames.trajectories]
    q = [observed.progress(x).mean(1) for x in frames.trajectories]
    _require_both_states(torch.cat(q))
    _require_lag(settings.lag, lengths)
    return _Estimation(run, settings, frames, observed, features, q, progress).reference()


class _Estimation:
    """One estimation, step by step; every step uses what the ones before found."""

    def __init__(
        self,
        run: StoredRun,
        settings: CompareSettings,
        frames: Ensemble,
        observed: Observables,
        features: list[Tensor],
        q: list[Tensor],
        progress: Progress,
    ) -> None:
        self.run, self.settings, self.frames, self.observed = run, settings, frames, observed
        self.features, self.q = features, q
        self.lengths = [len(x) for x in features]
        self.notes: list[str] = []
        chosen = run.manifest["chosen"].get("action.temperature_k", {}).get("value")
        temperature = settings.temperature_k or chosen
        if temperature is None:
            raise RecipeError(
                "the temperature of the simulation is not known from the run. Give it with --temperature-k."
            )
        self.temperature_k: float = temperature
        progress.say("slow coordinates, microstates, Markov model ...")

    def reference(self) -> Reference:
        self._model()
        reader = self._reader()
        yardstick = self._yardstick(reader)
        facts = self._facts(yardstick)
        return Reference(
            reader, yardstick, facts, self._used(reader), tuple(self.notes), torch.cat(self.slow)[:: self._thin, :2]
        )

    @property
    def _thin(self) -> int:
        return -(-sum(self.lengths) // 20_000)

    def _model(self) -> None:
        wanted = markov.MarkovSettings(self.settings.lag, self.settings.clusters, seed=self.settings.seed)
        found = markov.find_microstates(self.features, wanted)
        lags = markov.usable_lags(self.lengths)
        states = [found.assign(x) for x in self.features]
        count = len(found.centers)
        if self.settings.lag is None:
            self.timescales = markov.implied_timescales(states, count, lags)
            self.lag, plateau = markov.plateau_lag(self.timescales)
        else:
            self.lag = self.settings.lag
            self.timescales = markov.implied_timescales(states, count, sorted({*lags, self.lag, 2 * self.lag}))
            plateau = self.timescales[2 * self.lag] <= markov.PLATEAU * self.timescales[self.lag]
        if not plateau:
            self.notes.append(
                f"the slowest implied timescale still grows at a lag of {self.lag} frames: the reference is too short, "
                "or the lag too small; rates and committors of the Markov model are not to be trusted"
            )
        self.microstates, self.states = markov.connected(found, self.features, self.lag)
        self.counts = markov.count_transitions(self.states, len(self.microstates.centers), self.lag)
        self.slow = [self.microstates.project(x) for x in self.features]
        model = markov.estimate(self.counts)
        starts, ends = (self.microstates.assign(self.observed.features(self.run.paths[:, side])) for side in (0, -1))
        self.in_a, self.in_b, self.sets = markov.metastable_sets(model, starts, ends)
        self.chain = markov.solve_chain(model, self.in_a, self.in_b, self.lag)
        if self.timescales.get(self.lag, 0.0) < 2 * self.lag:
            self.notes.append(
                f"the slowest implied timescale ({self.chain.timescale:.3g} frames) is hardly longer than the lag "
                f"({self.lag}): the Markov model resolves no slow process"
            )

    def _reader(self) -> PathReader:
        states = torch.cat(self.states)
        weights = self.chain.stationary / torch.bincount(states, minlength=len(self.chain.stationary)).clamp_min(1)
        surface = free_energy_map(
            torch.cat(self.slow), weights[states], bins=MAP_BINS, temperature_k=self.temperature_k
        )
        q = torch.cat(self.q)
        low, high = (float(q[mask[states]].mean()) for mask in (self.in_a, self.in_b))
        if not low < high:
            raise ValidationError(
                f"the mean progress of the events is {low:.2f} in state A and {high:.2f} in state B of the reference, "
                "expected less in A. The metastable states of the simulation are not those of the paths' ends."
            )
        edges = torch.linspace(low, high, self.settings.bins + 1, dtype=torch.float64).tolist()
        return PathReader(self.observed, self.microstates, self.chain.committor, surface, edges)

    def _yardstick(self, reader: PathReader) -> Yardstick:
        committor = torch.where(self.in_b, 1.0, torch.where(self.in_a, 0.0, 0.5))
        values = torch.cat([committor[states] for states in self.states])
        numbers = torch.repeat_interleave(torch.arange(len(self.lengths)), torch.tensor(self.lengths))
        transitions = find_transitions(values, numbers, low=0.0, high=1.0)
        if len(transitions) < LEAST_TRANSITIONS:
            raise ValidationError(
                f"the reference has {len(transitions)} transitions between the states, expected at least "
                f"{LEAST_TRANSITIONS}. Give longer or more trajectories, or a hotter simulation with --temperature-k."
            )
        positions = torch.cat(self.frames.trajectories)
        paths = [thinned(positions[t.frames()].double(), self.run.paths.shape[1]) for t in transitions]
        typical = sorted(t.last - t.first + 1 for t in transitions)[len(transitions) // 2]
        if typical < FEW_FRAMES:
            self.notes.append(
                f"half of the transitions of the reference have at most {typical} frames: the order of events within "
                "them is not resolved; save frames more often"
            )
        self.typical = typical
        self.pieces = pieces_of(self.lengths)
        begins = torch.tensor([sum(self.lengths[:number]) + first for number, first, _ in self.pieces])
        groups = torch.bucketize(torch.tensor([t.first for t in transitions]), begins, right=True) - 1
        return Yardstick(reader.read(paths), groups, len(self.pieces), self.settings.draws, self.settings.seed)

    def _facts(self, yardstick: Yardstick) -> dict[str, Any]:
        """Timescale, rate and population of B with error bars, and counts."""
        a, b = self.in_a, self.in_b
        size = len(self.microstates.centers)
        of_pieces = torch.stack(
            [markov.count_transitions([self.states[k][i:j]], size, self.lag) for k, i, j in self.pieces]
        )
        draws = [self._drawn(of_pieces, weights) for weights in self._piece_weights()]
        columns = torch.tensor([row for row in draws if row is not None], dtype=torch.float64).view(-1, 3)
        values = (self.chain.timescale, self.chain.rate, float(self.chain.stationary[b].sum()))
        names = ("slowest_timescale_frames", "rate_a_to_b_per_frame", "population_b")
        estimates = {
            name: vars(BootstrapEstimate.of(value, columns[:, k]))
            for k, (name, value) in enumerate(zip(names, values, strict=True))
        }
        return estimates | {
            "population_a": float(self.chain.stationary[a].sum()),
            "frames": sum(self.lengths),
            "trajectories": len(self.lengths),
            "transitions": len(yardstick.paths),
            "frames_per_transition": sum(self.lengths) / len(yardstick.paths),
            "median_transition_frames": self.typical,
            "microstates": len(self.microstates.centers),
            "metastable_sets": self.sets,
            "implied_timescales_frames": {str(lag): value for lag, value in self.timescales.items()},
            "failed_draws": sum(row is None for row in draws),
        }

    def _piece_weights(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed + 2)
        count = len(self.pieces)
        return resampled(torch.arange(count), count, self.settings.draws, generator)

    def _drawn(self, of_pieces: Tensor, weights: Tensor) -> tuple[float, float, float] | None:
        """Timescale, rate and population of B of a resampled reference; None if its states are not connected."""
        counts = torch.einsum("p,pij->ij", weights, of_pieces)
        kept = markov.largest_connected_set(counts)
        a, b = self.in_a[kept], self.in_b[kept]
        if not (bool(a.any()) and bool(b.any())):
            return None
        chain = markov.solve_chain(markov.estimate(counts[kept][:, kept]), a, b, self.lag)
        return chain.timescale, chain.rate, float(chain.stationary[b].sum())

    def _used(self, reader: PathReader) -> dict[str, Any]:
        return {
            "observables": self.observed.kind,
            "features": list(self.observed.names),
            "events": list(self.observed.events),
            "stride": self.frames.stride,
            "lag_frames": self.lag,
            "lag_chosen": self.settings.lag is None,
            "tica_lag_frames": self.microstates.tica_lag,
            "slow_coordinates": self.microstates.axes.shape[1],
            "core_membership": markov.CORE_MEMBERSHIP,
            "progress_bins": list(reader.edges),
            "free_energy_bins": MAP_BINS,
            "temperature_k": self.temperature_k,
            "draws": self.settings.draws,
            "pieces": len(self.pieces),
            "seed": self.settings.seed,
        }


def thinned(path: Float[Tensor, "frame bead 3"], images: int) -> Float[Tensor, "image bead 3"]:
    """At most so many frames of a path, evenly spread, both ends included."""
    if len(path) <= images:
        return path
    return path[torch.linspace(0, len(path) - 1, images).round().long()]


def _require_both_states(q: Tensor) -> None:
    low, high = float(q.min()), float(q.max())
    for state, seen, found in (("A", low < A_BELOW, low), ("B", high > B_ABOVE, high)):
        if not seen:
            word = "least" if state == "A" else "largest"
            limit = f"below {A_BELOW:g}" if state == "A" else f"above {B_ABOVE:g}"
            raise ValidationError(
                f"the reference never visits state {state}: the {word} progress from A to B of its frames is "
                f"{found:.2f}, expected one {limit}. Give a simulation that visits both ends of the paths."
            )


def _require_lag(lag: int | None, lengths: list[int]) -> None:
    if max(lengths) < 100:
        raise ValidationError(
            f"the longest trajectory of the reference has {max(lengths)} frames, expected at least 100. "
            "Give longer trajectories, or a smaller --stride."
        )
    if lag is not None and 5 * lag > max(lengths):
        raise RecipeError(
            f"--lag: got {lag} frames, expected at most {max(lengths) // 5}, a fifth of the longest trajectory."
        )

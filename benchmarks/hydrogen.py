"""Action Matching on the Schroedinger equation of hydrogen, beside Langevin dynamics with a learned score.

    python -m benchmarks.hydrogen --steps 100000 --seeds 3        (the published length; a day on one core)

Both models learn from the same samples of |psi(t)|^2 (`benchmarks.hydrogen_atom`): the scalar s(x, t) of Action
Matching, and a score s(x, t) by sliced score matching. From one set of true samples at the start, the first carries
points along grad s, the second moves them by Langevin steps with the score of each time step in turn, as published:
five steps x + eps/2 score + sqrt(eps) noise per time step, eps = 15 in the published unit. The same with the exact
score shows what of its error is due to the dynamics. At ten times the squared maximum mean discrepancy (MMD) to
independent true samples is taken, and the mean of its absolute values is the result. That of two independent sets of
true samples is the floor: what 5000 samples can tell.
Results are stored after every seed, and another call with the same options goes on after the last.

Published with 100000 steps: 5.66e-4 +- 3.1e-4 for Action Matching, 4.75e-2 for Langevin dynamics.
Unlike there, networks see positions and potentials in units of the data's spread, the times of a batch are adaptive, a
batch takes its ends and its middle from the same Metropolis chain, and the true samples of the MMD are independent of
the starting points. All of this is said in the result.

Source: Neklyudov et al., arXiv:2210.06662, sec. 5.3; Song et al., arXiv:1905.07088 (sliced score matching).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks import hydrogen_atom as atom
from benchmarks.report import RESULTS, Table, machine, write_report
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.score.transport import carry, even_times
from tpsctl.training.laws import RampedDecay
from tpsctl.training.loop import Loop, LoopSettings
from tpsctl.training.objectives.action_matching.marginals import Marginals
from tpsctl.training.objectives.action_matching.objective import ActionMatchingSettings, matching_of_points
from tpsctl.training.objectives.base import Objective, fingerprint_of, seeded

EVALUATIONS = 10
LANGEVIN_STEPS, LANGEVIN_STEP = 5, 15 / atom.UNIT**2
MATCHING, LEARNED, EXACT = "Action Matching", "Langevin with a learned score", "Langevin with the exact score"
FLOOR = "floor: two sets of true samples"
PUBLISHED = {MATCHING: "5.66e-4 ± 3.1e-4", LEARNED: "4.75e-2", EXACT: "", FLOOR: ""}
SIZES = PerceptronSizes(dims=3, hidden=256, layers=5, activation="swish")


@dataclass(frozen=True)
class WarmUpThenConstant:
    """The published learning rate: a linear rise, then constant."""

    peak: float
    warm_up: int

    def __call__(self, steps_done: int) -> float:
        return self.peak * min(1.0, (steps_done + 1) / self.warm_up)


class Chains(Marginals):
    """Points of Metropolis chains (time, chain, 3) at evenly spaced times."""

    dims = 3

    def __init__(self, chains: Tensor) -> None:
        self._chains = chains

    def draw(self, t: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        last = len(self._chains) - 1
        chain = torch.randint(self._chains.shape[1], (len(t),), generator=generator)
        return self._chains[0, chain], self._chains[(t * last).round().long(), chain], self._chains[last, chain]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self._chains,)


@dataclass(frozen=True)
class ScoreBatch:
    """Points (batch, 3) with their times (batch,) and random signs (batch, 3)."""

    x: Tensor
    t: Tensor
    signs: Tensor

    def to(self, device: torch.device) -> "ScoreBatch":
        return ScoreBatch(*(part.to(device) for part in (self.x, self.t, self.signs)))


class SlicedScoreMatching(Objective[ScoreBatch, Perceptron]):
    """E[ |s|^2 / 2 + v . grad(v . s) ] over random signs v; its minimizer is the score."""

    def __init__(self, chains: Tensor, batch: int, seed: int) -> None:
        self._marginals, self._batch, self._seed = Chains(chains), batch, seed
        self._network = seeded(seed, lambda: Perceptron(SIZES).float())

    @property
    def network(self) -> Perceptron:
        return self._network

    def draw(self, generator: torch.Generator) -> ScoreBatch:
        t = torch.rand(self._batch, generator=generator, dtype=torch.float64)
        x = self._marginals.draw(t, generator)[1]
        return ScoreBatch(x, t.float(), torch.randint(0, 2, x.shape, generator=generator) * 2.0 - 1)

    def loss(self, batch: ScoreBatch) -> Tensor:
        x = batch.x.requires_grad_(True)
        score = self._network(x, batch.t)
        (product,) = torch.autograd.grad((score * batch.signs).sum(), x, create_graph=True)
        return (score.square().sum(1) / 2 + (product * batch.signs).sum(1)).mean()

    def fingerprint(self) -> str:
        return fingerprint_of([type(self).__name__, self._batch, self._seed], self._marginals.tensors())


def main() -> None:
    """Train, propagate, compare, report."""
    options = parse()
    facts = machine() | {"threads": 1}
    torch.set_num_threads(1)
    runs = stored(options)
    for seed in range(len(runs), options.seeds):
        runs.append(one_seed(seed, options))
        report(runs, options, facts)


def stored(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The seeds that an earlier call with these options has done."""
    file = RESULTS / f"{options.name}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"options": {}, "seeds": []}
    same = {**found["options"], "seeds": options.seeds} == vars(options)
    return found["seeds"][: options.seeds] if same else []


def report(runs: Sequence[dict[str, Any]], options: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Store the results of the seeds that are done."""
    values = {name: [run["mean"][name] for run in runs] for name in PUBLISHED}
    rows = [[name, _mean(v), _error(v), PUBLISHED[name]] for name, v in values.items()]
    title = (
        f"Hydrogen: time-averaged squared MMD, {len(runs)} of {options.seeds} seeds, {options.steps} steps of batch "
        f"{options.batch} at a learning rate of {options.learning_rate:g} ({options.score_steps} steps for the score); "
        "published: 100000 steps of batch 1000 at 1e-4"
    )
    head = ["method", "mean", "standard deviation over seeds", "published"]
    ratio = [["Langevin with a learned score over Action Matching", _mean(values[LEARNED]) / _mean(values[MATCHING])]]
    write_report(
        options.name,
        facts,
        {"options": vars(options), "seeds": list(runs)},
        [Table(title, head, rows), Table("Ratio of the means", ["what", "times"], ratio), seconds_of(runs)],
    )


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000, help="optimizer steps of Action Matching")
    parser.add_argument("--score-steps", type=int, help="optimizer steps of the score model; default: as many")
    parser.add_argument("--seeds", type=int, default=3, help="number of independent runs")
    parser.add_argument("--batch", type=int, default=1000, help="points per step")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="learning rate after the warm-up")
    parser.add_argument("--warm-up", type=int, default=5000, help="steps of the linear warm-up")
    parser.add_argument("--average", type=float, default=0.9999, help="decay of the running average of the parameters")
    parser.add_argument("--samples", type=int, default=5000, help="chains, propagated points and true points")
    parser.add_argument("--langevin-samples", type=int, help="points moved by Langevin steps; default: --samples")
    parser.add_argument("--integration-steps", type=int, default=100, help="Runge-Kutta steps of Action Matching")
    parser.add_argument("--name", default="hydrogen", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    options.score_steps = options.score_steps or options.steps
    options.langevin_samples = options.langevin_samples or options.samples
    return options


def one_seed(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both models of one seed and their distances from the true samples, by method and time."""
    generator, clock = torch.Generator().manual_seed(seed), Clock()
    chains = atom.metropolis_samples(options.samples, generator)
    clock.lap("Metropolis")
    scale = float(chains.std())
    chains /= scale
    settings = ActionMatchingSettings(hidden=SIZES.hidden, layers=SIZES.layers, batch=options.batch, seed=seed)
    matching = Loop(matching_of_points(Chains(chains), settings), law(options, options.steps, seed))
    potential = trained(matching, "action")
    clock.lap("Action Matching")
    score = trained(
        Loop(SlicedScoreMatching(chains, options.batch, seed), law(options, options.score_steps, seed)), "score"
    )
    clock.lap("score matching")
    start = atom.exact_samples(options.samples, 0.0, generator).float() / scale
    few = start[: options.langevin_samples]
    propagated = {
        MATCHING: carried(potential, start, options.integration_steps),
        LEARNED: langevin(score, few, scale, generator),
        EXACT: langevin(exact_score(scale), few, scale, generator),
    }
    clock.lap("propagation")
    found = {name: [] for name in PUBLISHED}
    for k in range(1, EVALUATIONS + 1):
        now = k * atom.DURATION / EVALUATIONS
        truth = atom.exact_samples(options.samples, now, generator)
        for name, points in propagated.items():
            found[name].append(atom.squared_mmd(scale * points[k - 1], truth))
        found[FLOOR].append(atom.squared_mmd(atom.exact_samples(options.samples, now, generator), truth))
    clock.lap("MMD")
    mean = {name: statistics.fmean(map(abs, values)) for name, values in found.items()}
    print(f"seed {seed}: {mean}, {clock.seconds}", flush=True)
    return {
        "seed": seed,
        "mean": mean,
        "by_time": found,
        "scale_bohr": scale,
        "last_loss": statistics.fmean(matching.losses[-1000:]),
        "effective_fraction_of_times": matching.objective.times.effective_fraction,
        "settings": asdict(settings),
        "seconds": clock.seconds,
    }


def law(options: argparse.Namespace, steps: int, seed: int) -> LoopSettings:
    """How both models are trained."""
    rate = WarmUpThenConstant(options.learning_rate, options.warm_up)
    return LoopSettings(steps, rate, RampedDecay(options.average), largest_gradient_norm=1.0, seed=seed)


def trained(loop: Loop[Any], name: str) -> Any:
    """The averaged network after all steps, with a line of progress every 1000."""
    for step, _ in loop.steps():
        if step % 1000 == 0:
            print(f"{name} {step}: loss {statistics.fmean(loop.losses[-1000:]):.4f}", flush=True)
    return loop.averaged_network().requires_grad_(False)


def carried(potential: Callable[[Tensor, Tensor], Tensor], x: Tensor, steps: int) -> list[Tensor]:
    """Points at every evaluation, carried along the gradient of the potential."""
    found, times = [], even_times(0, 1, EVALUATIONS)
    for here, there in zip(times[:-1], times[1:], strict=True):
        x, _ = carry(potential, x, even_times(here, there, steps // EVALUATIONS))
        found.append(x)
    return found


def exact_score(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The gradient of log |psi|^2 at points in units of `scale` Bohr, and at fractions of the duration.

    It is computed in float64: beside a node of psi a step throws a point far out, where |psi|^2 is 0 in float32.
    """

    def score(x: Tensor, t: Tensor) -> Tensor:
        y = x.detach().double().requires_grad_(True)
        log_density = atom.log_density(scale * y, float(t[0]) * atom.DURATION)
        return torch.autograd.grad(log_density.sum(), y)[0].to(x)

    return score


def langevin(
    score: Callable[[Tensor, Tensor], Tensor], x: Tensor, scale: float, generator: torch.Generator
) -> list[Tensor]:
    """Points at every evaluation, moved by Langevin steps with the score of every time step in turn."""
    found, step = [], LANGEVIN_STEP / scale**2
    for k in range(1, atom.STEPS + 1):
        t = torch.full((len(x),), k / atom.STEPS)
        for _ in range(LANGEVIN_STEPS):
            x = x + step / 2 * score(x, t) + step**0.5 * torch.randn(x.shape, generator=generator)
        if k % (atom.STEPS // EVALUATIONS) == 0:
            found.append(x)
    return found


class Clock:
    """Seconds of the parts of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the time since the last lap."""
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 1), now


def seconds_of(runs: Sequence[dict[str, Any]]) -> Table:
    """Mean seconds of every part."""
    names = runs[0]["seconds"]
    return Table("Seconds per seed", list(names), [[_mean([run["seconds"][name] for run in runs]) for name in names]])


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _error(values: Sequence[float]) -> float | str:
    return statistics.stdev(values) if len(values) > 1 else "one seed"


if __name__ == "__main__":
    main()

"""A batch of paths, from nothing to its verdict: what one shard does at a time, and what is kept of it."""

import os
import platform
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tpsctl.guess.screen import FaultsOf, Screening, screened
from tpsctl.jobs.shard_status import slurm_ids
from tpsctl.jobs.watch import Watch
from tpsctl.optimize.base import Outcome, StepCallback, StepReport
from tpsctl.optimize.stages import run_stages
from tpsctl.optimize.state import BetweenSteps, State, within
from tpsctl.prior.base import Prior
from tpsctl.progress import Progress, Update
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.workflows.sample import assemble
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.sample.judge import Verdict, judge
from tpsctl.workflows.sample.trace import Trace, describe_step


class Tools:
    """What every batch of a recipe is made with, each part made when it is first needed."""

    def __init__(self, recipe: SampleRecipe, device: torch.device, threads: int) -> None:
        self.recipe, self.device, self.threads = recipe, device, threads

    @cached_property
    def system(self) -> assemble.System:
        return assemble.make_system(self.recipe.endpoints)

    @cached_property
    def prior(self) -> Prior:
        return assemble.make_prior(self.recipe.prior, self.system, self.device)

    @property
    def machine(self) -> dict[str, Any]:
        """Where the work is done, for the manifest."""
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "device": str(self.device),
            "gpu": gpu,
            "threads": self.threads,
            "cores": os.cpu_count(),
            "slurm": slurm_ids(),
        }

    @cached_property
    def gate(self) -> GeometryGate:
        return assemble.make_gate(self.system)

    @cached_property
    def energy_model(self) -> EnergyModel | None:
        return assemble.make_energy_model(self.recipe.validation, self.system, self.threads)

    def guesses(self, numbers: Sequence[int], progress: Progress) -> tuple[Tensor, Screening]:
        """Initial paths of these numbers."""
        faults_of = assemble.make_faults(self.recipe, self.gate, self.energy_model)
        paths, screening = draw_guesses(self.recipe, self.prior, self.system, faults_of, progress, numbers=numbers)
        return paths.to(self.device), screening

    def verdict(self, paths: Tensor) -> Verdict:
        """What validation says of finished paths."""
        return judge(self.recipe.validation, self.system, self.prior, paths, self.gate, self.energy_model)


@dataclass(frozen=True)
class Batch:
    """Finished paths, and how they came about.

    Attributes:
        paths: All images, nm, float64.
        stages: Outcome of every stage of the optimization.
        trace: How the action went down.
        screening: How the guesses came about.
        verdict: What validation says.
        facts: Wall time of the parts, and the machine; no part of the result.
    """

    paths: Tensor
    stages: tuple[Outcome, ...]
    trace: Trace
    screening: Screening
    verdict: Verdict
    facts: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether every path converged and passed the gate."""
        return self.stages[-1].all_converged and bool(self.verdict.gate.path_passes.all())

    @classmethod
    def joined(cls, batches: "Sequence[Batch]") -> "Batch":
        """Several batches as one; the facts are those of the first."""
        stages = zip(*(batch.stages for batch in batches), strict=True)
        return cls(
            paths=torch.cat([batch.paths for batch in batches]),
            stages=tuple(Outcome.joined(of_stage) for of_stage in stages),
            trace=Trace.joined([batch.trace for batch in batches]),
            screening=Screening.joined([batch.screening for batch in batches]),
            verdict=Verdict.joined([batch.verdict for batch in batches]),
            facts=batches[0].facts,
        )

    def store(self) -> tuple[State, dict[str, Any]]:
        """The batch as plain tensors and JSON facts."""
        tensors = {"paths": self.paths} | _named("trace", self.trace.tensors())
        for number, outcome in enumerate(self.stages):
            tensors |= _named(f"stage_{number}", outcome.tensors())
        verdict, about = self.verdict.store()
        facts = {
            "screening": asdict(self.screening),
            "stages": self.trace.stages,
            "verdict": about,
            "facts": self.facts,
        }
        return tensors | _named("verdict", verdict), facts

    @classmethod
    def from_stored(cls, tensors: State, facts: dict[str, Any]) -> "Batch":
        """The batch that `store` gave."""
        count = len(facts["stages"])
        return cls(
            paths=tensors["paths"],
            stages=tuple(Outcome.from_tensors(within(tensors, f"stage_{number}.")) for number in range(count)),
            trace=Trace.from_tensors(within(tensors, "trace."), facts["stages"]),
            screening=_screening(facts["screening"]),
            verdict=Verdict.from_stored(within(tensors, "verdict."), facts["verdict"]),
            facts=facts["facts"],
        )


def work_on(numbers: range, tools: Tools, watch: Watch, progress: Progress) -> Batch:
    """Guess, optimize and judge the paths of a batch, from its newest snapshot if there is one.

    Raises:
        Interrupted: Told to stop; a snapshot is saved.
    """
    clock, facts = Clock(), {"machine": tools.machine, "started": datetime.now(UTC).isoformat(timespec="seconds")}
    found = watch.snapshots.newest()
    if found is None:
        watch.tell(stage="guess")
        paths, screening = tools.guesses(numbers, progress)
        state, trace = None, Trace()
    else:
        tensors, before = found
        state, trace = within(tensors, "state."), Trace.from_tensors(within(tensors, "trace."), before["stages"])
        paths = state["minimization.record.good"].to(tools.device)
        screening, facts = _screening(before["screening"]), before["facts"]
        clock = Clock(before["seconds"])
        progress.say(f"going on after step {len(trace.steps)} of paths {numbers[0]} to {numbers[-1]}")
    clock.lap("guess")

    def snapshot(state: State) -> None:
        clock.lap("optimize")
        about = {"screening": asdict(screening), "stages": trace.stages, "facts": facts, "seconds": clock.seconds}
        watch.snapshots.save(_named("state", state) | _named("trace", trace.tensors()), about)

    with watch.between_steps(snapshot) as between_steps:
        paths, outcomes, _ = optimize(
            *(tools.recipe, tools.prior, tools.system, paths, progress),
            trace=trace,
            state=state,
            on_step=watch.on_step,
            between_steps=between_steps,
        )
    clock.lap("optimize")
    watch.tell(stage="validation")
    progress.say(f"validating {len(paths)} x {paths.shape[1]} images ...")
    verdict = tools.verdict(paths)
    clock.lap("validate")
    return Batch(paths, outcomes, trace, screening, verdict, facts | {"seconds": clock.seconds})


def draw_guesses(
    recipe: SampleRecipe,
    prior: Prior,
    system: assemble.System,
    faults_of: FaultsOf,
    progress: Progress,
    *,
    numbers: Sequence[int] | None = None,
) -> tuple[Tensor, Screening]:
    """Initial paths (path, image, bead, dim) of these numbers, default all of the recipe's.

    Each comes from its own random stream and is redrawn while it is faulty.
    """
    guess = assemble.make_guess(recipe, prior, system)
    numbers = range(recipe.path.paths) if numbers is None else numbers
    images = recipe.stages[0].images or recipe.path.images
    drawn, screenings = [], []
    with progress.task(f"{recipe.path.guess.kind} guess", len(numbers)) as update:
        for number in numbers:
            path, screening = screened(
                guess,
                system.ends,
                images,
                [torch.Generator().manual_seed(assemble.path_seed(recipe.seed, number))],
                faults_of=faults_of,
                repair=assemble.make_repair(system),
                max_draws=recipe.path.screen.max_draws,
                indices=[number],
            )
            drawn.append(path)
            screenings.append(screening)
            update(len(drawn), f"{sum(s.drawn for s in screenings)} drawn")
    whole = Screening.joined(screenings)
    progress.say(whole.summary())
    return torch.cat(drawn), whole


def optimize(
    recipe: SampleRecipe,
    prior: Prior,
    system: assemble.System,
    paths: Tensor,
    progress: Progress,
    *,
    trace: Trace | None = None,
    state: State | None = None,
    on_step: StepCallback | None = None,
    between_steps: BetweenSteps | None = None,
) -> tuple[Tensor, tuple[Outcome, ...], Trace]:
    """All stages, each from the paths of the one before; the last outcome is that of the whole.

    Args:
        recipe: Names the stages.
        prior: Gives the score.
        system: Gives the masses.
        paths: Where from; with a `state`, any paths of its shape.
        progress: Told about every step.
        trace: What went before the `state`; noted on.
        state: Where an earlier call was when it was interrupted.
        on_step: Told about every step, too.
        between_steps: May take the state, and end the optimization by raising.
    """
    stages, trace = assemble.make_stages(recipe, prior, system), trace or Trace()
    limits = {stage.name: stage.optimizer.max_steps for stage in stages}
    with ExitStack() as stack:
        tasks: dict[str, Update] = {}

        def tell(report: StepReport) -> None:
            if report.stage not in tasks:
                stack.close()
                tasks[report.stage] = stack.enter_context(progress.task(report.stage, limits[report.stage]))
            tasks[report.stage](report.step, describe_step(report))
            trace.note(report)
            if on_step is not None:
                on_step(report)

        found, outcomes = run_stages(stages, paths, on_step=tell, state=state, between_steps=between_steps)
    return found.cpu(), outcomes, trace


def _screening(values: dict[str, Any]) -> Screening:
    return Screening(**(values | {"faults": tuple(values["faults"])}))


def _named(prefix: str, tensors: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}

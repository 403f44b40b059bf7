"""The main job: recipe -> ends -> prior -> guess -> action -> optimization -> verdict -> files."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl import assemble, results
from tpsctl.doctor import default_threads
from tpsctl.errors import RecipeError
from tpsctl.guess.screen import FaultsOf, Screening, screened
from tpsctl.judge import judge
from tpsctl.optimize.base import Outcome, StepReport
from tpsctl.optimize.stages import run_stages
from tpsctl.output.directory import earlier_result, staged
from tpsctl.output.manifest import file_sha256, write_manifest
from tpsctl.prior.base import Prior
from tpsctl.progress import Progress, Update
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.models import Recipe
from tpsctl.trace import Trace, describe_step


@dataclass(frozen=True)
class Settings:
    """Where and how a run is done; nothing here changes the result.

    Attributes:
        out: Run directory instead of the recipe's.
        overwrite: Whether an earlier result may be replaced.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all.
    """

    out: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    threads: int | None = None


def run_recipe(recipe: Recipe, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Run a recipe, or find that it was run already; the manifest of the result."""
    directory = (settings.out or recipe.output.directory).resolve()
    identity = identify(recipe)
    earlier = earlier_result(directory, identity["digest"], identity, overwrite=settings.overwrite)
    if earlier is not None:
        progress.say(f"{directory}: this recipe was run here already; nothing to do (--overwrite runs it again).")
        return earlier | {"directory": str(directory)}
    clock = results.Clock()
    device, threads = use_hardware(settings)
    system = assemble.make_system(recipe.endpoints)
    prior = assemble.make_prior(recipe.prior, system, device)
    gate = assemble.make_gate(system)
    energy_model = assemble.make_energy_model(recipe.validation, system, threads)
    with staged(directory, overwrite=settings.overwrite) as folder:
        clock.lap("prepare")
        faults_of = assemble.make_faults(recipe, gate, energy_model)
        guesses, screening = draw_guesses(recipe, prior, system, faults_of, progress)
        clock.lap("guess")
        paths, outcomes, trace = optimize(recipe, prior, system, guesses.to(device), progress)
        clock.lap("optimize")
        progress.say(f"validating {len(paths)} x {paths.shape[1]} images ...")
        verdict = judge(recipe.validation, system, prior, paths, gate, energy_model)
        clock.lap("validate")
        finished = results.Finished(recipe, system, prior, screening, paths, outcomes, trace, verdict)
        results.write_files(folder, finished)
        clock.lap("write")
        manifest = identity | results.describe(finished, clock, device=device, threads=threads)
        write_manifest(folder, manifest | {"directory": directory})
    return manifest | {"directory": str(directory)}


def identify(recipe: Recipe) -> dict[str, Any]:
    """Digest, resolved recipe and input hashes: what makes two runs the same run."""
    files = require_files(recipe)
    hashes = {key: file_sha256(file) for key, file in files.items()}
    return {
        "digest": recipe_digest(recipe, hashes),
        "recipe": recipe.model_dump(mode="json"),
        "inputs": {key: {"file": str(files[key]), "sha256": digest} for key, digest in hashes.items()},
    }


def use_hardware(settings: Settings) -> tuple[torch.device, int]:
    """The device and the number of threads, set for torch."""
    threads = settings.threads or default_threads()
    torch.set_num_threads(threads)
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"--device {name}: not usable here: {reason}. `tpsctl doctor` lists devices.") from None
    return device, threads


def draw_guesses(
    recipe: Recipe, prior: Prior, system: assemble.System, faults_of: FaultsOf, progress: Progress
) -> tuple[Tensor, Screening]:
    """Initial paths (path, image, bead, dim), each from its own random stream, redrawn while it is faulty."""
    guess, count = assemble.make_guess(recipe, prior, system), recipe.path.paths
    images = recipe.stages[0].images or recipe.path.images
    drawn, screenings = [], []
    with progress.task(f"{recipe.path.guess.kind} guess", count) as update:
        for i in range(count):
            generator = torch.Generator().manual_seed(assemble.path_seed(recipe.seed, i))
            path, screening = screened(
                guess,
                system.ends,
                images,
                [generator],
                faults_of=faults_of,
                repair=assemble.make_repair(system),
                max_draws=recipe.path.screen.max_draws,
                indices=[i],
            )
            drawn.append(path)
            screenings.append(screening)
            update(i + 1, f"{sum(s.drawn for s in screenings)} drawn")
    whole = Screening.joined(screenings)
    progress.say(whole.summary())
    return torch.cat(drawn), whole


def optimize(
    recipe: Recipe, prior: Prior, system: assemble.System, paths: Tensor, progress: Progress
) -> tuple[Tensor, tuple[Outcome, ...], Trace]:
    """All stages, each from the paths of the one before; the last outcome is that of the whole."""
    stages, trace = assemble.make_stages(recipe, prior, system), Trace()
    limits = {stage.name: stage.optimizer.max_steps for stage in stages}
    with ExitStack() as stack:
        tasks: dict[str, Update] = {}

        def on_step(report: StepReport) -> None:
            if report.stage not in tasks:
                stack.close()
                tasks[report.stage] = stack.enter_context(progress.task(report.stage, limits[report.stage]))
            tasks[report.stage](report.step, describe_step(report))
            trace.note(report)

        paths, outcomes = run_stages(stages, paths, on_step=on_step)
    return paths.cpu(), outcomes, trace

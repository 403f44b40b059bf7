"""`tpsctl guide`: a recipe in; a guided ensemble with weights, work and diagnostics out.

`GuideJob.compute` draws the samples in rounds that a kill cannot lose (`tpsctl.jobs.rounds`), and `GuideJob.write`
writes what was drawn.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from tpsctl.environment import default_threads
from tpsctl.errors import RecipeError
from tpsctl.jobs.batches import BatchedJob, StoredBatch, compute_batches, gather_batches
from tpsctl.jobs.keeper import KeepingSettings, ShardKeeper
from tpsctl.jobs.plan import Plan, open_plan
from tpsctl.jobs.rounds import do_rounds
from tpsctl.jobs.shard import WHOLE
from tpsctl.optimize.tuning import require_gaussian_processes
from tpsctl.output.manifest import file_sha256
from tpsctl.progress import Progress
from tpsctl.recipe.guide import GuideRecipe, ObservableGuidanceSection
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.workflows.checkpoints import files_beside
from tpsctl.workflows.guide.campaigns.averages import ObservableCampaign
from tpsctl.workflows.guide.campaigns.base import UNGUIDED, Campaign
from tpsctl.workflows.guide.drawing import Drawn
from tpsctl.workflows.guide.results import write_result
from tpsctl.workflows.guide.rounds import GuideRounds
from tpsctl.workflows.guide.tools import GuideTools, make_tools
from tpsctl.workflows.sample import devices
from tpsctl.workflows.sample.batch import now
from tpsctl.workflows.sample.clock import Clock
from tpsctl.workflows.sample.settings import RunSettings, scratch_folder, scratch_place


def guide_recipe(recipe: GuideRecipe, settings: RunSettings, progress: Progress) -> dict[str, Any]:
    """Run a recipe or a shard of it, go on with it, or find that it was run; the manifest, or what the shard did.

    Raises:
        RecipeError: The run directory belongs to another recipe, or what is wanted cannot be reached.
        Interrupted: The job was told to stop; what it had done is saved.
    """
    if settings.shard and settings.overwrite:
        raise RecipeError("--overwrite: throws the work of all shards away; not with --shard. Choose another --out.")
    scratch_place(settings.scratch)  # refused before anything is written
    job = job_of(recipe, settings, progress)
    wanted = _plan(recipe, settings)
    plan = open_plan(wanted, overwrite=settings.overwrite, resume=settings.resume, shard=settings.shard or WHOLE)
    if not isinstance(plan, Plan):
        where = wanted.directory
        progress.say(f"{where}: this recipe was run here already; nothing to do (--overwrite runs it again).")
        return plan | {"directory": str(where)}
    with scratch_folder(settings.scratch) as scratch:
        keeping = KeepingSettings(settings.max_hours, settings.save_every_s, scratch)
        keeper = ShardKeeper(plan, settings.shard or WHOLE, keeping, progress)
        with _leaving_nothing_refused(plan, settings):
            done = compute_batches(job, plan, keeper, progress)
        if settings.shard:
            return done
        return gather_batches(plan.directory, lambda _: job, progress, scratch=scratch)


@contextmanager
def _leaving_nothing_refused(plan: Plan, settings: RunSettings) -> Iterator[None]:
    """Remove the state of a recipe that turns out to be wrong once samples are drawn, such as a target out of reach.

    Then the same command with the recipe mended finds the directory free. Where other shards work, all stays.
    """
    try:
        yield
    except RecipeError:
        if settings.shard is None:
            plan.remove()
            with suppress(OSError):  # an earlier result may lie there
                plan.directory.rmdir()
        raise


def job_of(recipe: GuideRecipe, settings: RunSettings, progress: Progress) -> "GuideJob":
    """The job of a recipe; what is wrong with it is found before anything is drawn or written."""
    require_files(recipe)
    torch.set_num_threads(settings.threads or default_threads())
    if recipe.guide.tune is not None:
        require_gaussian_processes("guide.tune")
    tools = make_tools(recipe, _device(settings.device))
    return GuideJob(tools, make_campaign(tools), progress)


def job_of_plan(plan: Plan, progress: Progress) -> BatchedJob:
    """The job of an unfinished run, made anew from what its plan says.

    Raises:
        RecipeError: An input file has changed since.
    """
    recipe = GuideRecipe.model_validate_json(json.dumps(plan.identity["recipe"]))
    if identify_guide(recipe)["digest"] != plan.digest:
        raise RecipeError(f"{plan.directory}: an input file has changed since the samples were drawn. Restore it.")
    return job_of(recipe, RunSettings(), progress)


def make_campaign(tools: GuideTools) -> Campaign:
    """The kind of guidance that a recipe asks for."""
    section = tools.recipe.guide
    if isinstance(section, ObservableGuidanceSection):
        return ObservableCampaign(tools, section)
    from tpsctl.workflows.guide.campaigns.structures import PathCampaign

    return PathCampaign(tools, section)


class GuideJob(BatchedJob):
    """A guided run: one batch, on whose rounds all shards work."""

    def __init__(self, tools: GuideTools, campaign: Campaign, progress: Progress) -> None:
        self._tools, self._campaign, self._progress = tools, campaign, progress
        self._taught = False

    def compute(self, numbers: range, keeper: ShardKeeper) -> StoredBatch:
        """Draw all samples.

        Raises:
            Interrupted: The job was told to stop; the finished blocks are kept.
            RecipeError: What is wanted cannot be reached.
        """
        clock, started = Clock(), now()
        rounds = GuideRounds(self._tools, self._campaign)
        do_rounds(rounds, keeper, self._progress)
        self._taught = True  # the rounds did it
        clock.lap("draw")
        return rounds.store({"seconds": clock.seconds, "started": started})

    def is_good(self, batch: StoredBatch) -> bool:
        """Whether the guided samples are what was wanted."""
        return self._campaign.outcome(self._learned(batch)) == "complete"

    def write(self, folder: Path, batches: Sequence[StoredBatch]) -> dict[str, Any]:
        """Write ensembles, tables and figures; the manifest."""
        drawn = self._learned(batches[0])
        return write_result(folder, self._tools, self._campaign, drawn, batches[0][1])

    def _learned(self, batch: StoredBatch) -> dict[str, Drawn]:
        tensors, facts = batch
        drawn = {name: Drawn.stored(tensors, name) for name in facts["names"]}
        if not self._taught:
            self._campaign.learn(drawn[UNGUIDED])
            for name in facts.get("lessons", ()):
                self._campaign.study(Drawn.stored(tensors, name))
            self._taught = True
        return drawn


def _plan(recipe: GuideRecipe, settings: RunSettings) -> Plan:
    directory = (settings.out or recipe.output.directory).resolve()
    origin = (*settings.origin, "--out", str(directory))
    replaces = settings.overwrite and (directory / "manifest.json").exists()
    sampling = recipe.sampling
    return Plan(
        directory,
        identify_guide(recipe),
        sampling.samples,
        sampling.batch_samples,
        replaces,
        origin,
        together=True,
        subcommand="guide",
    )


def identify_guide(recipe: GuideRecipe) -> dict[str, Any]:
    """Digest, resolved recipe and hashes of all files that are read."""
    files, section = require_files(recipe), recipe.prior
    beside: dict[str, Path] = {}
    if isinstance(section, CheckpointPriorSection):
        beside = {f"prior.checkpoint: {file.name}": file for file in files_beside(section.checkpoint)}
    hashes = {key: file_sha256(file) for key, file in (files | beside).items()}
    return {
        "digest": recipe_digest(recipe, {key: hashes[key] for key in files}, [hashes[key] for key in beside]),
        "recipe": recipe.model_dump(mode="json"),
        "inputs": {key: {"file": str((files | beside)[key]), "sha256": digest} for key, digest in hashes.items()},
    }


def _device(wanted: str) -> torch.device:
    """The device of the option --device: the CPU unless another is named, because samples are drawn in small blocks."""
    try:
        device = torch.device("cpu" if wanted == "auto" else wanted)
    except RuntimeError as error:
        raise devices.not_usable(wanted, error) from None
    devices.require_usable(device)
    return device

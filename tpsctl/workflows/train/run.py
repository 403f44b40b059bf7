"""`tpsctl train`: recipe -> data -> objective -> loop -> judgement -> checkpoint.

While a run is under way its state is kept in `CHECKPOINT.training/` (see `tpsctl.jobs.unfinished`), and a run that was
stopped or killed goes on from there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.action.memory import explained_out_of_memory
from tpsctl.checkpoints.native import read_card
from tpsctl.environment import default_threads
from tpsctl.errors import Interrupted, RecipeError
from tpsctl.jobs.unfinished import Keeping, refusal, remove_rest, unfinished
from tpsctl.networks.bfloat16 import bfloat16_products
from tpsctl.output.manifest import file_sha256
from tpsctl.progress import Progress
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.train import SeveralDatasetsSection, TrainRecipe
from tpsctl.recipe.train_potential import PointActionMatchingSection, TrainPotentialRecipe
from tpsctl.recipe.train_snapshots import TrainSnapshotsRecipe
from tpsctl.score.precision import choose_products
from tpsctl.training.loop import Loop
from tpsctl.training.team import Team
from tpsctl.workflows.sample.devices import cuda_fault, not_usable, require_usable
from tpsctl.workflows.train.action_matching import PointActionMatchingTask
from tpsctl.workflows.train.card import digest_of
from tpsctl.workflows.train.carry_out import carry_out, follow
from tpsctl.workflows.train.molecule import MoleculeTask
from tpsctl.workflows.train.molecules import MoleculesTask
from tpsctl.workflows.train.potential import PotentialTask
from tpsctl.workflows.train.report import report_folder, write_report
from tpsctl.workflows.train.snapshots import SnapshotsTask
from tpsctl.workflows.train.task import TrainingTask

AnyTrainRecipe = TrainRecipe | TrainPotentialRecipe | TrainSnapshotsRecipe
"""The recipes of `tpsctl train`."""


@dataclass(frozen=True)
class TrainOptions(Keeping):
    """Where and how a model is trained; nothing here changes the result.

    Attributes:
        out: Checkpoint file instead of the recipe's.
        threads: CPU threads; None for all.
        device: "auto", "cpu", "cuda" or "cuda:N", for the steps; the preparation and the judgement use the CPU.
    """

    out: Path | None = None
    threads: int | None = None
    device: str = "auto"


def train_recipe(recipe: AnyTrainRecipe, options: TrainOptions, progress: Progress) -> dict[str, Any] | None:
    """Train the model of a recipe, or find that it is there already.

    Several processes that `torchrun` has started train it together, each on the GPU of its number.

    Returns:
        The model card, with the checkpoint's path under "file"; None in all processes of a team but the first.

    Raises:
        RecipeError: A file is missing, or another model, or the unfinished training of one, is in the way.
        DataError: The data cannot be used, or the loss is no longer finite.
        Interrupted: Told to stop; the same call goes on.
    """
    team = Team.joined(gpus=torch.cuda.is_available())
    torch.set_num_threads(options.threads or default_threads())
    if team is None:
        return _train(recipe, options, None, progress)
    try:
        card = _train(recipe, options, team, progress)
    except Interrupted:  # agreed by all; after other errors a member that still computes would never answer
        team.leave()
        raise
    team.leave()
    return card


def _train(
    recipe: AnyTrainRecipe, options: TrainOptions, team: Team | None, progress: Progress
) -> dict[str, Any] | None:
    """The part of this process in a training; arguments and result as those of `train_recipe`."""
    task, target, identity = task_of(recipe), checkpoint_file(recipe, options), identify(recipe)
    if team is not None and not team.leads:
        _follow(recipe, task, team, device_of(options, recipe, progress))
        return None
    if is_trained(target, identity, overwrite=options.overwrite):
        progress.say(f"{target}: trained by this recipe already; nothing to do (--overwrite trains it again).")
        if team is not None:
            team.shared(None)
        return read_card(target) | {"file": str(target)}
    device = device_of(options, recipe, progress)
    with unfinished(target, identity, options, progress) as kept:
        data = task.load()
        progress.say(task.about(data))
        loop = Loop(task.objective(data), task.loop_settings(), device, team)
        with _as_the_recipe_says(recipe, loop):
            carry_out(loop, kept, progress)
        model = task.model(loop.averaged_network(), data)
        progress.say("judging the model ...")
        quality = task.judge(model, loop.losses, data)
        write_report(report_folder(target), recipe.name, loop, task.compared())
        kept.finish(lambda file: task.save(file, model, data, quality, identity))
    return read_card(target) | {"file": str(target)}


def _follow(recipe: AnyTrainRecipe, task: TrainingTask[Any, Any, Any], team: Team, device: torch.device) -> None:
    """The part of a process that is not the first of its team."""
    loop = Loop(task.objective(task.load()), task.loop_settings(), device, team)
    with _as_the_recipe_says(recipe, loop):
        follow(loop, team)


@contextmanager
def _as_the_recipe_says(recipe: AnyTrainRecipe, loop: Loop[Any]) -> Iterator[None]:
    """The steps in the precision of the recipe, with a remedy where memory does not suffice."""
    in_bfloat16 = isinstance(recipe, TrainRecipe) and recipe.optimize.precision == "bf16"
    with (
        explained_out_of_memory("training", "Use a smaller optimize.batch."),
        bfloat16_products(loop.objective.network, enabled=in_bfloat16),
    ):
        yield


def device_of(options: TrainOptions, recipe: AnyTrainRecipe, progress: Progress) -> torch.device:
    """The device of the steps: "auto" takes a GPU for networks of molecules, and says so where it cannot be used.

    Raises:
        RecipeError: The device cannot be used here.
    """
    name = options.device
    if name == "auto":
        fault = cuda_fault()
        if fault:
            progress.say(f"this machine has a GPU, but it cannot be used, so the CPU computes: {fault}")
        gains = isinstance(recipe, TrainRecipe) and torch.cuda.is_available()
        name = "cuda" if gains else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # of torchrun
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise not_usable(name, error) from None
    if device.type == "cuda":
        choose_products(tf32=isinstance(recipe, TrainRecipe) and recipe.optimize.precision == "tf32")
    require_usable(device)
    return device


def task_of(recipe: AnyTrainRecipe) -> TrainingTask[Any, Any, Any]:
    """What is done for this kind of recipe."""
    if isinstance(recipe, TrainRecipe) and isinstance(recipe.data, SeveralDatasetsSection):
        return MoleculesTask(recipe, recipe.data)
    if isinstance(recipe, TrainRecipe):
        return MoleculeTask(recipe)
    if isinstance(recipe, TrainSnapshotsRecipe):
        return SnapshotsTask(recipe)
    if isinstance(recipe.model, PointActionMatchingSection):
        return PointActionMatchingTask(recipe, recipe.model)
    return PotentialTask(recipe)


def checkpoint_file(recipe: AnyTrainRecipe, options: TrainOptions) -> Path:
    """Where the checkpoint goes."""
    target = (options.out or recipe.output.checkpoint).resolve()
    if target.suffix != ".safetensors":
        raise RecipeError(f"output.checkpoint: got {target.name}, expected a file that ends in .safetensors.")
    return target


def identify(recipe: AnyTrainRecipe) -> dict[str, Any]:
    """Digest, resolved recipe and input hashes, with files by name only, fit for a card that travels."""
    files = require_files(recipe)
    hashes = {key: file_sha256(file) for key, file in files.items()}
    return {
        "digest": recipe_digest(recipe, hashes),
        "recipe": _without_folders(recipe.model_dump(exclude={"output"})),
        "inputs": {key: {"file": files[key].name, "sha256": digest} for key, digest in hashes.items()},
    }


def is_trained(target: Path, identity: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether the checkpoint of this very run is there; what a kill has left beside it is removed.

    Raises:
        RecipeError: The checkpoint of another training is there.
        PriorError: A file is there that is no checkpoint.
    """
    if overwrite or not target.exists():
        return False
    card = read_card(target)
    if digest_of(card) != identity["digest"]:
        raise refusal(f"{target}: a checkpoint of another training is there", card, identity)
    remove_rest(target, identity["digest"])
    return True


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(v) for v in value]
    return value.name if isinstance(value, Path) else value

"""`tpsctl train`: recipe -> frames -> trainer -> held-out torques -> checkpoint; a killed run goes on where it was.

While a run is under way its state is kept in `CHECKPOINT.training/` (see `tpsctl.jobs.unfinished`).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl.checkpoints.native import read_card, save_checkpoint
from tpsctl.console import print_table
from tpsctl.environment import default_threads, versions
from tpsctl.errors import DataError, RecipeError
from tpsctl.jobs.unfinished import Keeping, Unfinished, refusal, remove_rest, unfinished
from tpsctl.networks.internal_energy.network import InternalEnergySizes
from tpsctl.output.manifest import file_sha256
from tpsctl.prior.generative import GenerativePrior
from tpsctl.progress import Progress
from tpsctl.recipe import train as models
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.score.schedule import Flow, NoiseSchedule, VarianceExploding, VariancePreserving
from tpsctl.training.trainer import Trainer, TrainingSettings
from tpsctl.workflows.train import potential as train_potential
from tpsctl.workflows.train.corpus import Corpus, load_corpus
from tpsctl.workflows.train.held_out import describe_quality, held_out_quality

_LOSS_MEMORY = 0.99
"""The loss that is shown is a running mean with this decay per step."""


@dataclass(frozen=True)
class Settings(Keeping):
    """Where and how a model is trained; nothing here changes the result.

    Attributes:
        out: Checkpoint file instead of the recipe's.
        threads: CPU threads; None for all.
    """

    out: Path | None = None
    threads: int | None = None


def train_recipe(
    recipe: models.TrainRecipe | TrainPotentialRecipe, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Train the model of a recipe, or find that it is there already; its model card and file."""
    if isinstance(recipe, TrainPotentialRecipe):
        torch.set_num_threads(settings.threads or default_threads())
        return train_potential.train_potential(recipe, out=settings.out, keeping=settings, progress=progress)
    target = (settings.out or recipe.output.checkpoint).resolve()
    if target.suffix != ".safetensors":
        raise RecipeError(f"output.checkpoint: got {target.name}, expected a file that ends in .safetensors.")
    identity = identify(recipe)
    if not _may_write(target, identity, overwrite=settings.overwrite):
        remove_rest(target, identity["digest"])
        progress.say(f"{target}: trained by this recipe already; nothing to do (--overwrite trains it again).")
        return read_card(target) | {"file": str(target)}
    torch.set_num_threads(settings.threads or default_threads())
    with unfinished(target, identity, settings, progress) as kept:
        corpus = load_corpus(recipe.data, recipe.seed)
        progress.say(_about(corpus))
        trainer = make_trainer(recipe, corpus)
        train(trainer, kept, progress)
        prior = GenerativePrior(
            recipe.model.kind,
            trainer.averaged_network(),
            make_schedule(recipe.model),
            corpus.topology,
            corpus.temperature_k,
            recipe.model.smallest_width_nm,
        )
        card = make_card(recipe, identity, corpus, held_out_quality(prior, corpus, recipe.model.largest_width_nm))
        finished = kept.folder / target.name
        save_checkpoint(finished, prior, network_sizes(recipe.model), card)
        finished.replace(target)
        kept.remove()
    return read_card(target) | {"file": str(target)}


def identify(recipe: models.TrainRecipe) -> dict[str, Any]:
    """Digest, resolved recipe and input hashes, with files by name only, fit for a card that travels."""
    files = require_files(recipe)
    hashes = {key: file_sha256(file) for key, file in files.items()}
    return {
        "digest": recipe_digest(recipe, hashes),
        "recipe": _without_folders(recipe.model_dump(exclude={"output"})),
        "inputs": {key: {"file": files[key].name, "sha256": digest} for key, digest in hashes.items()},
    }


def make_trainer(recipe: models.TrainRecipe, corpus: Corpus) -> Trainer:
    """The recipe in the words of `tpsctl.training`."""
    model, optimize = recipe.model, recipe.optimize
    settings = TrainingSettings(
        smallest_width_nm=model.smallest_width_nm,
        largest_width_nm=model.largest_width_nm,
        uniform_time=model.uniform_time if isinstance(model, models.FlowMatchingModelSection) else 0.0,
        seed=recipe.seed,
        **optimize.model_dump(),
    )
    return Trainer(corpus.topology, corpus.training, network_sizes(model), make_schedule(model), settings)


def network_sizes(model: models.NetworkSection) -> InternalEnergySizes:
    """Shapes of the network."""
    return InternalEnergySizes(model.hidden, model.layers, model.levels, model.embedding)


def make_schedule(model: models.DiffusionModelSection | models.FlowMatchingModelSection) -> NoiseSchedule:
    """What diffusion time means for this model."""
    if isinstance(model, models.FlowMatchingModelSection):
        return Flow(model.scale_nm)
    if isinstance(model.schedule, models.VariancePreservingSection):
        return VariancePreserving(model.schedule.scale_nm)
    return VarianceExploding(model.smallest_width_nm, model.largest_width_nm)


def train(trainer: Trainer, kept: Unfinished, progress: Progress) -> None:
    """All that is left of a training run, with its state saved every so often and when it is told to stop.

    Raises:
        DataError: The loss is no longer finite.
        Interrupted: Told to stop; the state is saved.
    """
    before = kept.newest()
    with kept.stoppable() as after:
        if before is not None:
            trainer.restore(before)
            progress.say(f"going on after step {trainer.step} of {trainer.settings.steps}")
        else:
            _prepare(trainer, progress, after)
            kept.snapshots.save(trainer.store(), {})
        started, first = time.monotonic(), trainer.step
        mean, weight = 0.0, 0.0
        with progress.task("training", trainer.settings.steps) as update:
            for step, loss in trainer.run():
                _require_finite(loss, step, kept.folder)
                mean = _LOSS_MEMORY * mean + (1 - _LOSS_MEMORY) * loss
                weight = _LOSS_MEMORY * weight + (1 - _LOSS_MEMORY)
                rate = (step - first) / (time.monotonic() - started)
                left = (trainer.settings.steps - step) / rate
                update(step, f"loss {mean / weight:.4f}  {rate:.1f} steps/s  {_clock(left)} left")
                after(f"step {step}", trainer.store)
        if trainer.step > first:
            kept.snapshots.save(trainer.store(), {})


def make_card(
    recipe: models.TrainRecipe, identity: dict[str, Any], corpus: Corpus, quality: dict[str, Any]
) -> dict[str, Any]:
    """The free part of the model card."""
    return {
        "name": recipe.name,
        "licence": recipe.output.licence,
        "data": corpus.facts | {"temperature_k": corpus.temperature_k},
        "metrics": {"held_out_torque_r2": quality},
        "versions": versions(),
        **identity,
    }


def show(card: dict[str, Any]) -> None:
    """Print the table that ends a training run."""
    if "metrics" not in card:
        train_potential.show(card)
        return
    columns, rows, notes = describe_quality(card["metrics"]["held_out_torque_r2"])
    forces = "forces were used" if card["data"]["forces_used"] else "from positions alone"
    notes.append(f"{card['kind']}, {card['data']['training_frames']} frames, {forces}")
    notes.append(f"checkpoint: {card['file']}")
    print_table(f"{card['name']}: R^2 of held-out torques, by noise width", columns, rows, notes=notes)


def _may_write(target: Path, identity: dict[str, Any], *, overwrite: bool) -> bool:
    """Whether there is anything to do; False if the checkpoint of this very run is there."""
    if overwrite or not target.exists():
        return True
    card = read_card(target)
    if card.get("digest") == identity["digest"]:
        return False
    raise refusal(f"{target}: a checkpoint of another training is there", card, identity)


def _prepare(trainer: Trainer, progress: Progress, after: Callable[[str], None]) -> None:
    with progress.task("linear fit", trainer.sizes.levels) as update:

        def on_level(level: int, levels: int, explained: list[float]) -> None:
            update(level + 1, f"explains {explained[0]:.3f} of the score, {explained[1]:.3f} of the torques")
            after(f"level {level + 1} of the linear fit")

        trainer.prepare(on_level)


def _require_finite(loss: float, step: int, folder: Path) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"step {step}: the loss is {loss}, no finite number. Lower optimize.learning_rate, or look for broken "
            f"frames in the data; the last good state is in {folder}."
        )


def _about(corpus: Corpus) -> str:
    facts = corpus.facts
    forces = "with forces" if facts["forces_used"] else "positions only"
    bias = f", bias corrected ({facts['effective_frames']:.0f} effective)" if facts["bias_corrected"] else ""
    return (
        f"{facts['source']}: {facts['training_frames']} frames to learn from{bias}, "
        f"{facts['held_out_frames']} held out; {corpus.topology.n_atoms} atoms, {forces}"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_folders(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(v) for v in value]
    return value.name if isinstance(value, Path) else value

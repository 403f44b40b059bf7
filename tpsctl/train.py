"""`tpsctl train`: recipe -> frames -> trainer -> held-out torques -> checkpoint; a killed run goes on where it was.

While a run is under way its state is kept in `CHECKPOINT.training/`, with the identity of the run: the
digest of the recipe and of its input files. The same recipe continues from there, another is refused.
"""

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tpsctl import train_potential
from tpsctl.console import print_table
from tpsctl.corpus import Corpus, load_corpus
from tpsctl.doctor import default_threads, versions
from tpsctl.errors import DataError, Interrupted, OutputError, RecipeError
from tpsctl.held_out import describe_quality, held_out_quality
from tpsctl.interruption import noted_interruptions
from tpsctl.output.atomic import write_text
from tpsctl.output.manifest import differences, file_sha256
from tpsctl.prior.checkpoint import read_card, save_checkpoint
from tpsctl.prior.generative import GenerativePrior
from tpsctl.prior.network.internal_energy import InternalEnergySizes
from tpsctl.progress import Progress
from tpsctl.recipe import train_models as models
from tpsctl.recipe.loader import recipe_digest, require_files
from tpsctl.recipe.train_potential_models import TrainPotentialRecipe
from tpsctl.schedule import Flow, NoiseSchedule, VarianceExploding, VariancePreserving
from tpsctl.training.trainer import Trainer, TrainingSettings

_STATE, _IDENTITY = "state.safetensors", "identity.json"
_LOSS_MEMORY = 0.99
"""The loss that is shown is a running mean with this decay per step."""

_SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class Settings:
    """Where and how a model is trained; nothing here changes the result.

    Attributes:
        out: Checkpoint file instead of the recipe's.
        overwrite: Whether an earlier checkpoint, or the state of another run, may be replaced.
        threads: CPU threads; None for all.
        save_every_s: Seconds between two saved states: what a kill can cost.
    """

    out: Path | None = None
    overwrite: bool = False
    threads: int | None = None
    save_every_s: float = 60.0


def train_recipe(
    recipe: models.TrainRecipe | TrainPotentialRecipe, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Train the model of a recipe, or find that it is there already; its model card and file."""
    if isinstance(recipe, TrainPotentialRecipe):
        torch.set_num_threads(settings.threads or default_threads())
        return train_potential.train_potential(
            recipe, out=settings.out, overwrite=settings.overwrite, progress=progress
        )
    target = (settings.out or recipe.output.checkpoint).resolve()
    if target.suffix != ".safetensors":
        raise RecipeError(f"output.checkpoint: got {target.name}, expected a file that ends in .safetensors.")
    identity = identify(recipe)
    if not _may_write(target, identity, overwrite=settings.overwrite):
        progress.say(f"{target}: trained by this recipe already; nothing to do (--overwrite trains it again).")
        return read_card(target) | {"file": str(target)}
    torch.set_num_threads(settings.threads or default_threads())
    folder = claim_folder(target, identity, overwrite=settings.overwrite)
    corpus = load_corpus(recipe.data, recipe.seed)
    progress.say(_about(corpus))
    trainer = make_trainer(recipe, corpus)
    train(trainer, folder / _STATE, progress, settings.save_every_s)
    prior = GenerativePrior(
        recipe.model.kind,
        trainer.averaged_network(),
        make_schedule(recipe.model),
        corpus.topology,
        corpus.temperature_k,
        recipe.model.smallest_width_nm,
    )
    card = make_card(recipe, identity, corpus, held_out_quality(prior, corpus, recipe.model.largest_width_nm))
    save_checkpoint(target, prior, network_sizes(recipe.model), card)
    shutil.rmtree(folder)
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


def claim_folder(target: Path, identity: dict[str, Any], *, overwrite: bool) -> Path:
    """The folder for the state of this run, made now or left by an earlier part of it.

    Raises:
        RecipeError: It holds the state of another run.
        OutputError: It cannot be written.
    """
    folder = target.with_name(f"{target.name}.training")
    claim = folder / _IDENTITY
    if claim.exists():
        try:
            before = json.loads(claim.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if before.get("digest") == identity["digest"]:
            return folder
        if not overwrite:
            raise _refusal(f"{folder}: holds the unfinished training of another recipe", before, identity)
        shutil.rmtree(folder)
    write_text(claim, json.dumps(identity, indent=2) + "\n")
    return folder


def make_trainer(recipe: models.TrainRecipe, corpus: Corpus) -> Trainer:
    """The recipe in the words of `tpsctl.training`."""
    model, optimize = recipe.model, recipe.optimize
    settings = TrainingSettings(
        smallest_width_nm=model.smallest_width_nm,
        largest_width_nm=model.largest_width_nm,
        uniform_time=model.uniform_time if isinstance(model, models.FlowMatchingModel) else 0.0,
        seed=recipe.seed,
        **optimize.model_dump(),
    )
    return Trainer(corpus.topology, corpus.training, network_sizes(model), make_schedule(model), settings)


def network_sizes(model: models.Model) -> InternalEnergySizes:
    """Shapes of the network."""
    return InternalEnergySizes(model.hidden, model.layers, model.levels, model.embedding)


def make_schedule(model: models.DiffusionModel | models.FlowMatchingModel) -> NoiseSchedule:
    """What diffusion time means for this model."""
    if isinstance(model, models.FlowMatchingModel):
        return Flow(model.scale_nm)
    if isinstance(model.schedule, models.VariancePreservingSchedule):
        return VariancePreserving(model.schedule.scale_nm)
    return VarianceExploding(model.smallest_width_nm, model.largest_width_nm)


def train(trainer: Trainer, state: Path, progress: Progress, save_every_s: float) -> None:
    """All that is left of a training run, with its state saved every so often and when a signal stops it.

    Raises:
        DataError: The loss is no longer finite.
        Interrupted: Told to stop; the state is saved.
    """
    with noted_interruptions() as interruption:
        if state.exists():
            trainer.load(state)
            progress.say(f"going on after step {trainer.step} of {trainer.settings.steps}")
        else:
            _prepare(trainer, progress, interruption)
            _save(trainer, state)
        started, saved, first = time.monotonic(), time.monotonic(), trainer.step
        mean, weight = 0.0, 0.0
        with progress.task("training", trainer.settings.steps) as update:
            for step, loss in trainer.run():
                _require_finite(loss, step, state)
                mean = _LOSS_MEMORY * mean + (1 - _LOSS_MEMORY) * loss
                weight = _LOSS_MEMORY * weight + (1 - _LOSS_MEMORY)
                rate = (step - first) / (time.monotonic() - started)
                left = (trainer.settings.steps - step) / rate
                update(step, f"loss {mean / weight:.4f}  {rate:.1f} steps/s  {_clock(left)} left")
                if interruption():
                    _save(trainer, state)
                    raise Interrupted(
                        f"stopped: state saved after step {step}; the same command goes on from there.", interruption()
                    )
                if time.monotonic() - saved > save_every_s:
                    _save(trainer, state)
                    saved = time.monotonic()
        _save(trainer, state)


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
    raise _refusal(f"{target}: a checkpoint of another training is there", card, identity)


def _refusal(what: str, before: dict[str, Any], identity: dict[str, Any]) -> RecipeError:
    changed = [d for name in ("recipe", "inputs") for d in differences(before.get(name), identity[name], name)]
    shown = [f"  {line}" for line in changed[:_SHOWN_DIFFERENCES]]
    if len(changed) > _SHOWN_DIFFERENCES:
        shown.append(f"  and {len(changed) - _SHOWN_DIFFERENCES} more")
    head, tail = f"{what}; nothing was changed. It differs in:", "Choose another file with --out, or add --overwrite."
    return RecipeError("\n".join([head, *shown, tail]))


def _prepare(trainer: Trainer, progress: Progress, interruption: Any) -> None:
    with progress.task("linear fit", trainer.sizes.levels) as update:

        def on_level(level: int, levels: int, explained: list[float]) -> None:
            update(level + 1, f"explains {explained[0]:.3f} of the score, {explained[1]:.3f} of the torques")
            if interruption():
                raise Interrupted("stopped during the linear fit: nothing to save yet.", interruption())

        trainer.prepare(on_level)


def _save(trainer: Trainer, state: Path) -> None:
    try:
        trainer.save(state)
    except OSError as error:
        raise OutputError(f"{state}: cannot be written ({error.strerror or error}).") from error


def _require_finite(loss: float, step: int, state: Path) -> None:
    if not math.isfinite(loss):
        raise DataError(
            f"step {step}: the loss is {loss}, no finite number. Lower optimize.learning_rate, or look for broken "
            f"frames in the data; the last good state is {state}."
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

"""`tpsctl train` on a model potential: recipe -> equilibrium points -> network -> checkpoint."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tpsctl.checkpoints.model import Description, Model
from tpsctl.checkpoints.native import read_card
from tpsctl.checkpoints.native_published import save_model
from tpsctl.console import print_table
from tpsctl.environment import versions
from tpsctl.errors import DataError, RecipeError
from tpsctl.jobs.unfinished import Keeping, Unfinished, remove_rest, unfinished
from tpsctl.prior.potentials import mueller_brown
from tpsctl.progress import Progress
from tpsctl.recipe import train_potential as models
from tpsctl.recipe.loader import recipe_digest
from tpsctl.score.levels import cosine_tables
from tpsctl.simulation.boltzmann import boltzmann_points
from tpsctl.training.points import PointTrainer, PointTraining

BOX_NM = (0.0, 50.0)


def train_potential(
    recipe: models.TrainPotentialRecipe, *, out: Path | None, keeping: Keeping, progress: Progress
) -> dict[str, Any]:
    """Train the model of a recipe, or find that it is there already; its model card and file."""
    target, digest = (out or recipe.output.checkpoint).resolve(), recipe_digest(recipe, {})
    if target.suffix != ".safetensors":
        raise RecipeError(f"output.checkpoint: got {target.name}, expected a file that ends in .safetensors.")
    if target.exists() and not keeping.overwrite:
        card = read_card(target)
        if card.get("provenance", {}).get("digest") != digest:
            raise RecipeError(f"{target}: another checkpoint is there. Choose another file with --out, or --overwrite.")
        remove_rest(target, digest)
        progress.say(f"{target}: trained by this recipe already; nothing to do (--overwrite trains it again).")
        return card | {"file": str(target)}
    identity = {"digest": digest, "recipe": recipe.model_dump(mode="json", exclude={"output"}), "inputs": {}}
    with unfinished(target, identity, keeping, progress) as kept:
        points = draw_points(recipe)
        tables = cosine_tables(recipe.model.levels) if isinstance(recipe.model, models.PointDiffusionSection) else {}
        trainer = make_trainer(recipe, _in_units_of_its_spread(points), tables)
        losses = run(trainer, kept, progress)
        model = Model(describe(recipe, points, identity, trainer, losses), trainer.average, tables)
        save_model(kept.folder / target.name, model)
        (kept.folder / target.name).replace(target)
        kept.remove()
    return read_card(target) | {"file": str(target)}


def describe(
    recipe: models.TrainPotentialRecipe,
    points: Tensor,
    identity: dict[str, Any],
    trainer: PointTrainer,
    losses: dict[str, float],
) -> Description:
    """What the checkpoint says of itself."""
    diffusion = isinstance(recipe.model, models.PointDiffusionSection)
    return Description(
        layout="tpsctl points",
        kind=recipe.model.kind,
        network="perceptron",
        sizes=dict(trainer.sizes.to_dict()),
        scale_nm=tuple(points.std((0, 1)).tolist()),
        offset_nm=tuple(points.mean((0, 1)).tolist()),
        temperature_k=recipe.potential.temperature_k,
        potential=recipe.potential.kind,
        clock="t = i/levels" if diffusion else "s from noise (0) to data (1) is t = 1 - s",
        provenance={
            "name": recipe.name,
            "digest": identity["digest"],
            "recipe": identity["recipe"],
            "loss": losses,
            "versions": versions(),
        },
    )


def _in_units_of_its_spread(points: Tensor) -> Tensor:
    return ((points - points.mean((0, 1))) / points.std((0, 1))).squeeze(1).float()


def draw_points(recipe: models.TrainPotentialRecipe) -> Tensor:
    """Equilibrium points (count, 1, 2), nm."""
    return boltzmann_points(
        mueller_brown,
        box_nm=BOX_NM,
        temperature_k=recipe.potential.temperature_k,
        count=recipe.potential.samples,
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def make_trainer(recipe: models.TrainPotentialRecipe, points: Tensor, tables: dict[str, Tensor]) -> PointTrainer:
    """The recipe in the words of `tpsctl.training`."""
    training = PointTraining(
        kind=recipe.model.kind, hidden=recipe.model.hidden, seed=recipe.seed, **recipe.optimize.model_dump()
    )
    if not tables:
        return PointTrainer(points, training)
    levels = (tables[name].float() for name in ("sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"))
    return PointTrainer(points, training, *levels)


def run(trainer: PointTrainer, kept: Unfinished, progress: Progress) -> dict[str, float]:
    """All steps that are left; the mean loss of the first and of the last tenth of all.

    Raises:
        DataError: The loss is no longer finite.
        Interrupted: Told to stop; the state is saved.
    """
    before, steps = kept.newest(), trainer.settings.steps
    if before is not None:
        trainer.restore(before)
        progress.say(f"going on after step {trainer.step} of {steps}")
    with kept.stoppable() as after, progress.task("training", steps) as update:
        for step, loss in trainer.run():
            if not math.isfinite(loss):
                raise DataError(f"step {step}: the loss is {loss}. Lower optimize.learning_rate.")
            update(step, f"loss {loss:.4f}")
            after(f"step {step}", trainer.store)
    tenth = max(1, steps // 10)
    first, last = trainer.losses[:tenth], trainer.losses[-tenth:]
    return {"first_tenth": sum(first) / tenth, "last_tenth": sum(last) / tenth}


def show(card: dict[str, Any]) -> None:
    """Print the table that ends a training run."""
    about = card["provenance"]
    rows = [
        ["kind", card["kind"]],
        ["temperature", f"{card['temperature_k']:g} K"],
        ["loss, first tenth of the steps", f"{about['loss']['first_tenth']:.4f}"],
        ["loss, last tenth of the steps", f"{about['loss']['last_tenth']:.4f}"],
    ]
    print_table(about["name"], ["what", "value"], rows, notes=[f"checkpoint: {card['file']}"])

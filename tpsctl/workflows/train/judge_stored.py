"""A verdict for a checkpoint that carries none: judged on the data of a recipe of `tpsctl train`, and stored in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tpsctl.checkpoints.build import build_from
from tpsctl.checkpoints.native import load_model, save_model
from tpsctl.environment import versions
from tpsctl.errors import PriorError
from tpsctl.output.manifest import file_sha256
from tpsctl.prior.fields.energy import EnergyField
from tpsctl.recipe.loader import load_recipe, require_files
from tpsctl.recipe.train import SeveralDatasetsSection, TrainRecipe
from tpsctl.workflows.train.frames import load_frames
from tpsctl.workflows.train.judge import held_out_quality, judge_for_paths


def judge_stored(checkpoint: Path, recipe_file: Path) -> dict[str, Any]:
    """Judge the energy in a native checkpoint as `tpsctl train` does, and store the verdict in the file.

    Args:
        checkpoint: The file; it is replaced by one with the same tensors and another card.
        recipe_file: A recipe of `tpsctl train`; its data are split as its training would, and its model is ignored.

    Returns:
        The new entries of the card.

    Raises:
        PriorError: The checkpoint is unusable, is no energy of a molecule, or is not of the molecule of the data.
        RecipeError: The recipe is wrong, or a file that it names is missing.
        DataError: The data cannot be used.
    """
    if checkpoint.suffix != ".safetensors":
        raise PriorError(f"{checkpoint}: only native checkpoints carry a verdict. Use `tpsctl convert` first.")
    model = load_model(checkpoint)
    prior = build_from(checkpoint, model)
    if prior.topology is None or not isinstance(prior.field, EnergyField):
        raise PriorError(
            f"{checkpoint}: is not the energy of a molecule that `tpsctl train` makes; others cannot be judged."
        )
    recipe = load_recipe(recipe_file, TrainRecipe, [])
    if isinstance(recipe.data, SeveralDatasetsSection):
        raise PriorError(f"{recipe_file}: data.kind: datasets has several molecules. Give a recipe with one data set.")
    hashes = {key: file_sha256(file) for key, file in require_files(recipe).items()}
    frames = load_frames(recipe.data, recipe.seed)
    ours, theirs = ([(atom.name, atom.residue_name) for atom in x.atoms] for x in (prior.topology, frames.topology))
    if ours != theirs:
        raise PriorError(
            f"{checkpoint}: is for other atoms than the data of {recipe_file} ({len(ours)} and {len(theirs)} atoms, or "
            "other names or another order). Give a recipe with data of its molecule."
        )
    largest = prior.field.largest_width
    verdict, _ = judge_for_paths(prior, frames, largest)
    found: dict[str, Any] = {
        "verdict": verdict.as_json(),
        "judged": {
            "recipe": recipe.name,
            "inputs": hashes,
            "data": frames.facts,
            "held_out_torque_r2": held_out_quality(prior, frames, largest),
            "versions": versions(),
        },
    }
    if verdict.range is not None:
        found["diffusion_times"] = [width.diffusion_time for width in verdict.range]
    facts = {key: value for key, value in model.description.facts.items() if key != "diffusion_times"}
    save_model(checkpoint, replace(model, description=replace(model.description, facts=facts | found)))
    return found

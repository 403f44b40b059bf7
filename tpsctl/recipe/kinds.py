"""The recipe model of every command."""

from pathlib import Path

from pydantic import BaseModel

from tpsctl.recipe.document import read_document
from tpsctl.recipe.guide import GuideRecipe
from tpsctl.recipe.refine import RefineRecipe
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.simulate import SimulateRecipe
from tpsctl.recipe.train import TrainRecipe
from tpsctl.recipe.train_potential import TrainPotentialRecipe
from tpsctl.recipe.train_snapshots import TrainSnapshotsRecipe

MODELS: dict[str, type[BaseModel]] = {
    "sample": SampleRecipe,
    "simulate": SimulateRecipe,
    "train": TrainRecipe,
    "train_potential": TrainPotentialRecipe,
    "train_snapshots": TrainSnapshotsRecipe,
    "guide": GuideRecipe,
    "refine": RefineRecipe,
}


def of_command(command: str, path: Path) -> type[BaseModel]:
    """The model for a command's recipe; for `train` the recipe decides: a molecule, a model potential or snapshots."""
    if command == "train":
        values = read_document(path, []).values
        data = values.get("data")
        if "potential" in values:
            return MODELS["train_potential"]
        if isinstance(data, dict) and data.get("kind") == "snapshots":
            return MODELS["train_snapshots"]
    return MODELS["sample" if command in ("check", "gather", "submit") else command]

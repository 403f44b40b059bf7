"""The recipe model of every command."""

from pathlib import Path

from pydantic import BaseModel

from tpsctl.recipe.document import read_document
from tpsctl.recipe.sample import SampleRecipe
from tpsctl.recipe.simulate import SimulateRecipe
from tpsctl.recipe.train import TrainRecipe
from tpsctl.recipe.train_potential import TrainPotentialRecipe

MODELS: dict[str, type[BaseModel]] = {
    "sample": SampleRecipe,
    "simulate": SimulateRecipe,
    "train": TrainRecipe,
    "train_potential": TrainPotentialRecipe,
}


def of_command(command: str, path: Path) -> type[BaseModel]:
    """The model for a command's recipe; for `train` the recipe decides between a molecule and a model potential."""
    if command == "train" and "potential" in read_document(path, []).values:
        return MODELS["train_potential"]
    return MODELS["sample" if command in ("check", "gather", "submit") else command]

"""Which recipe model belongs to which command."""

from pydantic import BaseModel

from tpsctl.recipe.models import Recipe
from tpsctl.recipe.simulate_models import SimulateRecipe
from tpsctl.recipe.train_models import TrainRecipe

MODELS: dict[str, type[BaseModel]] = {"sample": Recipe, "simulate": SimulateRecipe, "train": TrainRecipe}


def of_command(command: str) -> type[BaseModel]:
    """The model that a command's recipe must fit; `check` takes those of `sample`."""
    return MODELS["sample" if command == "check" else command]

"""Which recipe model belongs to which command."""

from pydantic import BaseModel

from tpsctl.recipe.models import Recipe
from tpsctl.recipe.simulate_models import SimulateRecipe
from tpsctl.recipe.train_models import TrainRecipe

MODELS: dict[str, type[BaseModel]] = {"sample": Recipe, "simulate": SimulateRecipe, "train": TrainRecipe}

"""Which recipe model belongs to which command."""

from pydantic import BaseModel

from tpsctl.recipe.models import Recipe
from tpsctl.recipe.simulate_models import SimulateRecipe

MODELS: dict[str, type[BaseModel]] = {"sample": Recipe, "simulate": SimulateRecipe}

"""Which recipe model belongs to which command."""

from pydantic import BaseModel

from tpsctl.recipe.models import Recipe

MODELS: dict[str, type[BaseModel]] = {"sample": Recipe}

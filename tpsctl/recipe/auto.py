"""A number that a recipe may leave to the program: a value, or the word auto."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

AUTO = "auto"
"""The word that leaves a number to the program; what was chosen is in the manifest, with the reason."""


DEFAULT_TEMPERATURE_K = 300.0
"""Temperature where neither the recipe nor the prior has one, K."""


def _kind(value: Any) -> str:
    return AUTO if value == AUTO else "number"


Auto = Annotated[Literal["auto"], Tag(AUTO)]

PositiveOrAuto = Annotated[Annotated[float, Field(gt=0), Tag("number")] | Auto, Discriminator(_kind)]
"""A number above 0, or auto."""

FractionOrAuto = Annotated[Annotated[float, Field(ge=0, le=1), Tag("number")] | Auto, Discriminator(_kind)]
"""A number in [0, 1], or auto."""

CountOrAuto = Annotated[Annotated[int, Field(ge=1), Tag("number")] | Auto, Discriminator(_kind)]
"""A number of things, at least 1, or auto."""

SeveralOrAuto = Annotated[Annotated[int, Field(ge=2), Tag("number")] | Auto, Discriminator(_kind)]
"""A number of things, at least 2, or auto."""

ImagesOrAuto = Annotated[Annotated[int, Field(ge=3), Tag("number")] | Auto, Discriminator(_kind)]
"""A number of images, at least 3, or auto."""

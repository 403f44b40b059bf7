"""The base of all recipe sections: frozen, strict pydantic models whose keys have a description and a unit.

A recipe contains everything that decides the result; the place where it runs (device, threads) is given
on the command line. Methods with different keys are discriminated unions, so a key that does not apply is
refused instead of ignored. Key names contain the unit: nm, ps, K, kJ/mol.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of every section: it refuses unknown keys and wrong types, and its values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def key(description: str, unit: str = "", **constraints: Any) -> Any:
    """Make a recipe key with a description; `unit` is "1" for a pure number, and "" for text and choices.

    `constraints` are those of `pydantic.Field`, such as `default` and `gt`.
    """
    return Field(description=description, json_schema_extra={"unit": unit} if unit else None, **constraints)

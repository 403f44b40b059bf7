"""The recipe: one frozen pydantic model per section, strict, every key with description and unit.

A recipe says everything that decides the result; where it runs (device, threads) belongs to the
command line. Methods that differ in their keys are discriminated unions, so a key that does not
apply is refused instead of ignored. Units are in the key names: nm, ps, K, kJ/mol.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of every section: unknown keys refused, values immutable, no silent type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def key(description: str, unit: str = "", **constraints: Any) -> Any:
    """A documented recipe key; `unit` is "1" for a pure number, "" for text and choices."""
    return Field(description=description, json_schema_extra={"unit": unit} if unit else None, **constraints)

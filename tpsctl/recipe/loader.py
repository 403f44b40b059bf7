"""Loads and validates a recipe file; an invalid recipe gives one message per mistake.

A message has the form "file:line: key: what was found, what is allowed, what was probably meant."
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tpsctl.errors import RecipeError
from tpsctl.recipe.document import Document, KeyPath, read_document
from tpsctl.recipe.force_field import FORCE_FIELD_FILE
from tpsctl.recipe.messages import explain
from tpsctl.recipe.plugins import expand_plugin_kinds
from tpsctl.recipe.schema import Walk, recipe_schema

Model = TypeVar("Model", bound=BaseModel)

SMALLEST, LARGEST = 1e-30, 1e30
"""Limits for the magnitude of a number in a recipe, in any unit; within them sums and squares stay finite."""


def load_recipe(path: Path, model: type[Model], assignments: Sequence[str] = ()) -> Model:
    """Read a recipe, apply the changes of `--set`, validate it, and make file names absolute.

    A file name in the recipe is relative to the recipe file, and a file name in `--set` to the current directory.

    Raises:
        RecipeError: The recipe is invalid; the message has one line per mistake.
    """
    return resolve(read_document(path, assignments), model)


def resolve(document: Document, model: type[Model]) -> Model:
    """Validate a recipe that was read, and make file names absolute.

    Raises:
        RecipeError: The recipe is invalid; the message has one line per mistake.
    """
    document = replace(document, values=expand_plugin_kinds(document.values))
    _refuse_absurd_numbers(document, document.values, ())
    schema = recipe_schema(model)
    resolved = _with_absolute_paths(document, Walk.start(schema, document.values), ())
    try:
        return model.model_validate_json(json.dumps(resolved))
    except ValidationError as error:
        raise RecipeError("\n".join(explain(document, schema, error.errors()))) from None


def _refuse_absurd_numbers(document: Document, values: Any, path: KeyPath) -> None:
    if isinstance(values, dict):
        for key, value in values.items():
            _refuse_absurd_numbers(document, value, (*path, key))
    elif isinstance(values, list):
        for i, value in enumerate(values):
            _refuse_absurd_numbers(document, value, (*path, i))
    elif isinstance(values, int | float) and not _has_usual_size(values):
        shown = repr(values) if isinstance(values, float) else f"a whole number of {len(str(abs(values)))} digits"
        raise RecipeError(
            f"{document.origin(path).where}: {'.'.join(map(str, path))}: got {shown}, expected 0 or a number "
            f"between {SMALLEST:g} and {LARGEST:g} in size."
        )


def _has_usual_size(value: float) -> bool:
    """Whether a number is 0, within the limits, or not finite (the section itself refuses the latter)."""
    return value == 0 or not math.isfinite(value) or SMALLEST <= abs(value) <= LARGEST


def input_files(recipe: BaseModel) -> dict[str, Path]:
    """Every input file that a recipe names, by dotted key; output files are not included."""
    return dict(_files(recipe.model_dump(exclude={"output"}), ()))


def require_files(recipe: BaseModel) -> dict[str, Path]:
    """Check that all `input_files` are files or folders, and return them.

    Raises:
        RecipeError: One does not exist, or is a pipe or a device; the message has one line for each.
    """
    files = input_files(recipe)
    missing = [
        f"{key}: {'this is a pipe, a socket or a device' if file.exists() else 'no such file'}: {file}. "
        f"Put {'a file' if file.exists() else 'it'} there, or name another with --set {key}=FILE."
        for key, file in files.items()
        if not (file.is_file() or file.is_dir())
    ]
    if missing:
        raise RecipeError("\n".join(missing))
    return files


def recipe_digest(recipe: BaseModel, hashes: dict[str, str], beside: Sequence[str] = ()) -> str:
    """SHA-256 of everything that decides the result: the recipe, in which contents replace the names of files.

    The output directory is left out, so that a moved result is still recognized, and so are `output.report` and
    `validation.committor`, because the report and the shots are made from the result.

    Args:
        recipe: The recipe.
        hashes: SHA-256 of every file it names, by dotted key.
        beside: SHA-256 of further files that are read together with them.
    """
    values = recipe.model_dump(mode="json")
    for place in ("directory", "checkpoint", "report"):
        values["output"].pop(place, None)
    values.get("validation", {}).pop("committor", None)
    for key, digest in hashes.items():
        *parents, last = key.split(".")
        target: Any = values
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        target[int(last) if isinstance(target, list) else last] = f"sha256:{digest}"
    if beside:
        values["beside"] = list(beside)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _files(values: Any, path: KeyPath) -> Iterator[tuple[str, Path]]:
    if isinstance(values, Path):
        yield ".".join(map(str, path)), values
    elif isinstance(values, dict):
        for key, value in values.items():
            yield from _files(value, (*path, key))
    elif isinstance(values, list | tuple):
        for i, value in enumerate(values):
            yield from _files(value, (*path, i))


def _with_absolute_paths(document: Document, walk: Walk, path: KeyPath) -> Any:
    value = walk.value
    if isinstance(value, dict):
        return {k: _with_absolute_paths(document, walk.into(k), (*path, k)) for k in value}
    if isinstance(value, list):
        return [_with_absolute_paths(document, walk.into(i), (*path, i)) for i in range(len(value))]
    if isinstance(value, str) and value:
        kind, file = walk.chosen().node.get("format"), Path(document.origin(path).folder, value)
        if kind == "path" or (kind == FORCE_FIELD_FILE and file.is_file()):
            return os.path.realpath(file)  # a link to itself stays as it is, and is refused as no file later
    return value

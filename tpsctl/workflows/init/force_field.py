"""The key `force_field` of a new recipe, from the files that the user names."""

import os
from collections.abc import Sequence
from pathlib import Path

from tpsctl.errors import RecipeError

_TOPOLOGIES = {
    ".prmtop": ("amber", "prmtop"),
    ".parm7": ("amber", "prmtop"),
    ".top": ("gromacs", "top"),
}
"""For suffixes of topologies the kind of System, and the key that names the file."""

_HEAD_BYTES = 4096


def force_field_value(names: Sequence[str], folder: Path) -> list[str] | dict[str, str]:
    """The value of the key: a list of force-field XML files, or a mapping for a System or a topology.

    Args:
        names: Files, or names of files that OpenMM ships; a file in the current directory or in the recipe's folder
            comes before a shipped one.
        folder: Folder of the recipe.

    Raises:
        RecipeError: A System or a topology is named together with other files.
    """
    values = [_beside(name, folder) for name in names]
    kinds = [_kind(folder / value) for value in values]
    for value, kind in zip(values, kinds, strict=True):
        if kind is not None and len(values) > 1:
            raise RecipeError(
                f"--force-field {value}: this file describes a whole system, got {len(values)} files. "
                "Give it alone, or give force-field XML files only."
            )
        if kind is not None:
            return {"kind": kind[0], kind[1]: value}
    return values


def relative(file: Path, folder: Path) -> str:
    """The name of a file as a recipe in a folder writes it."""
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()


def _beside(name: str, folder: Path) -> str:
    for file in (Path(name), folder / name):
        if file.is_file():
            return relative(file, folder)
    return name


def _kind(file: Path) -> tuple[str, str] | None:
    """Kind of System and the key of its file; None for force-field XML."""
    if file.suffix.lower() in _TOPOLOGIES:
        return _TOPOLOGIES[file.suffix.lower()]
    if file.is_file():
        with file.open("rb") as stream:
            if b"<System" in stream.read(_HEAD_BYTES):
                return "system", "file"
    return None

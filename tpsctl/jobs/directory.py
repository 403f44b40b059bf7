"""Publishes results so that a run directory is complete or not there, and never replaces another result unasked.

A result is assembled inside the run directory's `state` folder, moved out file by file, the manifest last, and
compared with what was assembled. A directory with a manifest is complete; one without is finished by the next start. A
directory that holds a result of another recipe, or anything else, is refused.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError, RecipeError
from tpsctl.files import sync
from tpsctl.output.manifest import NAME, file_sha256, read_manifest, shown_differences

BESIDE = ("slurm", "state")
"""Folders of a run directory that are no part of a result."""


def earlier_result(directory: Path, digest: str, contents: dict[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """The manifest of the same run if it is there already; None if the directory may be written.

    Args:
        directory: The run directory.
        digest: Digest of the recipe and its inputs.
        contents: Parts of the manifest to name differences in, e.g. {"recipe": ..., "inputs": ...}.
        overwrite: Whether an earlier result may be replaced.

    Raises:
        RecipeError: The directory holds another result, or something that is no result at all.
    """
    if not directory.exists():
        return None
    if not directory.is_dir():
        raise RecipeError(f"{directory}: this is a file, not a run directory. Choose another with --out.")
    if not any(entry.name not in BESIDE for entry in directory.iterdir()):
        return None
    manifest = read_manifest(directory)
    if manifest is None and not (directory / "state" / "plan.json").exists():
        raise RecipeError(f"{directory}: not empty and no run directory of tpsctl. Choose another with --out.")
    if overwrite or manifest is None:
        return None
    if manifest.get("digest") == digest:
        return manifest
    raise RecipeError(
        "\n".join(
            [
                f"{directory}: holds the result of another recipe; nothing was changed. It differs in:",
                *shown_differences(manifest, contents, contents),
                "Choose another directory with --out, or replace this one with --overwrite.",
            ]
        )
    )


def publish(assembled: Path, directory: Path) -> None:
    """Move an assembled result into its run directory, on the same file system, and compare it there.

    May be repeated after a kill with the same result: what is there is replaced.

    Raises:
        OutputError: The place cannot be written, or a file does not read back as it was assembled.
    """
    hashes = {file.relative_to(assembled): file_sha256(file) for file in _files(assembled)}
    try:
        _remove([directory / NAME])  # from here on the directory is no complete result
        _remove(entry for entry in directory.iterdir() if entry.name not in BESIDE)
        for entry in sorted(assembled.iterdir(), key=lambda entry: (entry.name == NAME, entry.name)):
            os.rename(entry, directory / entry.name)
        sync(directory)
    except OSError as error:
        raise OutputError(f"{error.filename or directory}: cannot be written: {error.strerror}.") from None
    for name, digest in hashes.items():
        if file_sha256(directory / name) != digest:
            with suppress(OSError):
                (directory / NAME).unlink()
            raise OutputError(f"{directory / name}: does not read back as it was written. Check the disk, start again.")


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _remove(entries: Iterable[Path]) -> None:
    for entry in list(entries):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)

"""Run directories appear complete or not at all, and no result is ever lost to another.

A run writes into a temporary sibling, `.NAME.partial-PID`, which is renamed when everything is in
it. A directory that holds a result of another recipe, or anything else, is refused.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError, RecipeError
from tpsctl.output.manifest import differences, read_manifest

_SHOWN_DIFFERENCES = 5


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
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not directory.is_dir():
        raise RecipeError(f"{directory}: this is a file, not a run directory. Choose another with --out.")
    manifest = read_manifest(directory)
    if manifest is None:
        raise RecipeError(f"{directory}: not empty and no run directory of tpsctl. Choose another with --out.")
    if overwrite:
        return None
    if manifest.get("digest") == digest:
        return manifest
    changed = [line for name in contents for line in differences(manifest.get(name), contents[name], name)]
    listed = [f"  {line}" for line in changed[:_SHOWN_DIFFERENCES]]
    if len(changed) > _SHOWN_DIFFERENCES:
        listed.append(f"  and {len(changed) - _SHOWN_DIFFERENCES} more")
    raise RecipeError(
        "\n".join(
            [
                f"{directory}: holds the result of another recipe; nothing was changed. It differs in:",
                *listed,
                "Choose another directory with --out, or replace this one with --overwrite.",
            ]
        )
    )


@contextmanager
def staged(directory: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into; renamed to `directory` at the end, removed after an error.

    Raises:
        OutputError: The place cannot be written, or another run put its result there meanwhile.
    """
    partial = directory.parent / f".{directory.name}.partial-{os.getpid()}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{directory.parent}: cannot write here: {error.strerror}. Choose another --out.") from None
    try:
        yield partial
        _publish(partial, directory, overwrite=overwrite)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, directory: Path, *, overwrite: bool) -> None:
    """Put the new folder in place of the old one, which goes only after the new one is there."""
    if not overwrite and directory.exists() and any(directory.iterdir()):
        late = directory.parent / f"{directory.name}.late-{os.getpid()}"
        os.rename(partial, late)
        raise OutputError(f"{directory}: another run put its result here meanwhile; this one's is in {late}.")
    old = directory.parent / f".{directory.name}.replaced-{os.getpid()}"
    if directory.exists():
        os.rename(directory, old)
    try:
        os.rename(partial, directory)
    except OSError as error:
        if old.exists():
            os.rename(old, directory)
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from None
    shutil.rmtree(old, ignore_errors=True)

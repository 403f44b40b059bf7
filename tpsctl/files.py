"""Writes files so that they appear complete or not at all.

Data goes to a temporary file in the same directory, is forced to disk, and takes the place of the
target in one step (`os.replace`); a crash in between leaves the old file or none.
"""

import errno
import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tpsctl.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "Make room on the disk, or choose another place.",
    errno.EDQUOT: "Make room within your quota, or choose another place.",
}
"""What to do when the operating system refuses to write; other refusals are answered by choosing another place."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path with the same suffix; what is written there becomes `path` if nothing is raised.

    Raises:
        OutputError: The operating system refused (disk full, no permission).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Choose a place where files can be written.")
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}). {remedy}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy a file atomically, and compare the copy with its source.

    Raises:
        OutputError: The target cannot be written, or does not read back as it should.
    """
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
        if not filecmp.cmp(source, temporary, shallow=False):
            raise OutputError(f"{target}: does not read back as it was written. Check the disk.")


def remove_folder(folder: Path, *, last: str) -> None:
    """Remove a folder; its file `last`, which says to which run it belongs, is removed after all others.

    A kill on the way leaves a folder that is still recognized, or an empty one. What cannot be removed stays.
    """
    with suppress(OSError):
        for entry in [entry for entry in folder.iterdir() if entry.name != last]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        (folder / last).unlink(missing_ok=True)
        folder.rmdir()


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool = False, remedy: str = "Choose another name.") -> Iterator[Path]:
    """Give an empty temporary folder beside `folder`; it becomes `folder` if nothing is raised.

    Args:
        folder: The folder to make.
        overwrite: Whether a folder of this name is replaced.
        remedy: What to do if the name is taken, for the message.

    Raises:
        OutputError: Something has this name, or the operating system refused.
    """
    require_free(folder, overwrite=overwrite, remedy=remedy)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for entry in temporary.rglob("*"):
            sync(entry)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
        sync(folder.parent)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Choose a place where files can be written.")
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}). {remedy}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(path: Path, *, overwrite: bool = False, remedy: str = "Choose another name.") -> None:
    """Refuse the name of a result that is taken; with `overwrite`, a folder may be there, but no file.

    Raises:
        OutputError: Something has this name.
    """
    if os.path.lexists(path) and not (overwrite and path.is_dir() and not path.is_symlink()):
        what = "a folder" if path.is_dir() else "a file"
        raise OutputError(f"{path}: {what} of this name exists already; nothing was changed. {remedy}")

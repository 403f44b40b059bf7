"""Checks files and folders named on the command line before they are opened.

Named pipes, sockets and devices are refused: opening a pipe would wait forever, and reading a device might never end.
"""

import os
import stat
from pathlib import Path

from tpsctl.errors import RecipeError, TpsctlError

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_special(path: Path, expected: str, error: type[TpsctlError] = RecipeError) -> None:
    """Refuse a path that is neither a file nor a folder; a missing one is accepted, because its reader refuses it.

    Args:
        path: The path that the user named.
        expected: What the path should be, for the message, e.g. "a recipe file".
        error: Class of the error to raise.

    Raises:
        error: The path is a named pipe, a socket, a device, or a link that cannot be followed (e.g. to itself).
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    except OSError as failure:
        raise error(f"{path}: cannot be opened ({failure.strerror}). Expected {expected}.") from None
    if kind in _SPECIAL:
        raise error(f"{path}: this is {_SPECIAL[kind]}. Expected {expected}.")


def require_place_for_folder(path: Path | None) -> None:
    """Refuse the name of a run directory if something other than a folder has this name.

    Raises:
        RecipeError: A file or a special file has this name; the message says which.
    """
    if path is not None:
        refuse_special(path, "the name of a run directory")
        if path.is_file():
            raise RecipeError(f"{path}: this is a file. Expected the name of a run directory.")


def require_place_for_file(path: Path | None, error: type[TpsctlError] = RecipeError) -> None:
    """Refuse the name of a file to write if something other than a file has this name.

    Raises:
        error: A folder or a special file has this name; the message says which.
    """
    if path is not None:
        refuse_special(path, "the name of a file to write", error)
        if path.is_dir():
            raise error(f"{path}: this is a folder. Expected the name of a file to write.")

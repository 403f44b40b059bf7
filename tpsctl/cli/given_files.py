"""Files and folders named on the command line: what cannot be read or written as one is refused before it is opened.

Opening a named pipe would wait forever, and reading a device might never end.
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
    """Refuse what is neither a file nor a folder; one that is missing is left to the reader, who says so.

    Args:
        path: Named by the user.
        expected: What it should be, for the message, e.g. "a recipe file".
        error: What to raise.

    Raises:
        error: The path leads to a named pipe, a socket or a device, or to nowhere (a link to itself).
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
    """Refuse a run directory whose name is that of something else.

    Raises:
        RecipeError: With what it is.
    """
    if path is not None:
        refuse_special(path, "the name of a run directory")
        if path.is_file():
            raise RecipeError(f"{path}: this is a file. Expected the name of a run directory.")


def require_place_for_file(path: Path | None, error: type[TpsctlError] = RecipeError) -> None:
    """Refuse a file to write whose name is that of something else.

    Raises:
        error: With what it is.
    """
    if path is not None:
        refuse_special(path, "the name of a file to write", error)
        if path.is_dir():
            raise error(f"{path}: this is a folder. Expected the name of a file to write.")

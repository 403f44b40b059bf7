"""Reads text files that may be compressed, with any line ends and in any usual encoding.

The first bytes of a file decide whether it is compressed, not its name. Text is UTF-8, with or without a byte-order
mark, or UTF-16 with one; any other file is read as Latin-1, in which every byte is a character. Lines end with LF,
CR LF or CR and nothing else: Python's `splitlines` would also split at form feeds and at three Latin-1 characters.
"""

import gzip
import re
import stat
import zlib
from pathlib import Path

from tpsctl.errors import EndpointError

_GZIP = b"\x1f\x8b"
_OTHER_COMPRESSION = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def require_regular_file(path: Path, what: str) -> None:
    """Raise unless a path is a regular file, which can be read to its end.

    Args:
        path: The path as given.
        what: The kind of file that is expected, for the message, e.g. "a structure (PDB, mmCIF, GRO, ...)".

    Raises:
        EndpointError: There is no file, or it is a directory, a pipe, a device, a socket or a broken link.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        broken = path.is_symlink()
        reason = "the link leads to no file" if broken else "no such file"
        raise EndpointError(f"{path}: {reason}. Give {what} that exists.") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EndpointError(f"{path}: cannot be opened ({reason}). Give {what}.") from None
    for test, kind in _KINDS:
        if test(mode):
            raise EndpointError(f"{path}: is {kind}, expected a file. Give {what}.")


def read_text(path: Path) -> str:
    """Read the content of a text file.

    Raises:
        EndpointError: The file cannot be opened, has an unsupported compression, is damaged, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EndpointError(f"{path}: cannot be read ({error.strerror}).") from None
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise EndpointError(f"{path}: is a damaged gzip file ({error}). Copy or compress it anew.") from None
    for magic, name in _OTHER_COMPRESSION.items():
        if data.startswith(magic):
            raise EndpointError(f"{path}: is compressed with {name}; only gzip is read. Decompress it first.")
    text = _decoded(data)
    if "\0" in text:
        raise EndpointError(f"{path}: is no text file. Give a structure, with the extension of its format.")
    return text


def lines_of(text: str) -> list[str]:
    """Split a text into its lines, without line ends."""
    lines = re.split(r"\r\n|\n|\r", text)
    return lines[:-1] if lines and not lines[-1] else lines


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")

"""Finds and opens the checkpoint that a user names: a file, or a folder with one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpsctl.checkpoints import archive
from tpsctl.errors import PriorError


@dataclass(frozen=True)
class Source:
    """A checkpoint file whose archive is sound, with its content.

    Attributes:
        path: The file.
        content: The dictionary that it holds, with tensors on the CPU.
    """

    path: Path
    content: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """Name, size and hash of the file."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"file": self.path.name, "bytes": self.path.stat().st_size, "sha256": digest}


def open_source(path: Path) -> Source:
    """Open a checkpoint file, or the only checkpoint of a folder.

    Raises:
        PriorError: There is no checkpoint or there are several, or the file is unsound or unsafe.
    """
    file = find_checkpoint(path)
    return Source(file, archive.load(file))


def find_checkpoint(path: Path) -> Path:
    """Find the checkpoint that a path names: the file itself, or the only checkpoint of a folder.

    Raises:
        PriorError: There is none, or the folder has several.
    """
    if not path.is_dir():
        if not path.is_file():
            raise PriorError(f"{path}: no such checkpoint. Give a checkpoint file, or a folder that holds one.")
        return path
    found = sorted(path.glob("*.pt"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise PriorError(f"{path}: the folder holds {len(found)} checkpoints (*.pt): {names}. Name the file to use.")
    return found[0]

"""Keeps the last two snapshots of a long job, so that a damaged one can be replaced by the one before it.

With a scratch folder on a fast local disk, a snapshot is first written there and then copied to where it stays.
"""

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from tpsctl.errors import StateError
from tpsctl.files import copy
from tpsctl.jobs.store import read_state, write_state

KEPT = 2

PARTS = "ab"
"""What the name of a job's snapshots is followed by for its first and its second half."""

Content = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and facts."""


class Snapshots:
    """Numbered snapshots in a folder.

    Args:
        folder: Where they are.
        name: What their file names begin with.
        digest: Of the run; snapshots of others are left alone.
        every_s: Seconds between two of them.
        say: Told about damaged ones.
        scratch: Folder on a local disk; None to write at once to where they stay.

    Attributes:
        name: What their file names begin with.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        digest: str,
        *,
        every_s: float,
        say: Callable[[str], None],
        scratch: Path | None = None,
    ) -> None:
        self._folder, self.name, self._digest = folder, name, digest
        self._every_s, self._say, self._scratch = every_s, say, scratch
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for another snapshot."""
        return time.monotonic() - self._last >= self._every_s

    @property
    def age_s(self) -> float:
        """Seconds since the last snapshot: the work that a kill would cost."""
        return time.monotonic() - self._last

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> Path:
        """Write another snapshot, and remove the oldest.

        Raises:
            OutputError: It cannot be written; those before it stay.
        """
        there = self._files()
        file = self._folder / f"{self.name}-{(_number(there[-1]) + 1 if there else 1):08d}.safetensors"
        facts = facts | {"digest": self._digest}
        if self._scratch is None:
            write_state(file, tensors, facts)
        else:
            local = self._scratch / file.name
            write_state(local, tensors, facts)
            copy(local, file)
            local.unlink()
        for old in self._files()[:-KEPT]:
            with suppress(OSError):
                old.unlink()
        self._last = time.monotonic()
        return file

    def newest(self) -> Content | None:
        """Read the newest undamaged snapshot; None if there is none."""
        for file in reversed(self._files()):
            try:
                tensors, facts = read_state(file)
                if facts["digest"] == self._digest:
                    return tensors, facts
            except StateError as error:
                self._say(f"{error} Going back to the snapshot before it.")
        return None

    def clear(self) -> None:
        """Remove all snapshots, those of parts of the job as well, because the job is done."""
        for file in self._files(f"[{PARTS}]*"):
            with suppress(OSError):
                file.unlink()

    def _files(self, part: str = "") -> list[Path]:
        pattern = re.compile(rf"{re.escape(self.name)}{part}-\d{{8,}}\.safetensors")
        there = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted((file for file in there if pattern.fullmatch(file.name)), key=_number)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes that were killed; only for whoever holds the folder's lease."""
    for file in folder.glob(".*.tmp*"):
        with suppress(OSError):
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])

"""Where and how a run is done; nothing of this changes the result."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tpsctl.errors import RecipeError
from tpsctl.jobs.shard import Shard


@dataclass(frozen=True)
class RunSettings:
    """Where and how a run is done.

    Attributes:
        out: Run directory instead of the recipe's.
        overwrite: Whether an earlier result may be replaced, and unfinished work thrown away.
        resume: Whether there must be something to go on with.
        shard: Which of the batches; None for all, and the files of the result.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for all.
        max_hours: Time after which to stop, resumable; None for none.
        save_every_s: Seconds between two snapshots: what a kill can cost.
        scratch: Folder on a local disk; None for $SLURM_TMPDIR or $TMPDIR.
        origin: Words after `tpsctl sample` that run the recipe again, for messages.
    """

    out: Path | None = None
    overwrite: bool = False
    resume: bool = False
    shard: Shard | None = None
    device: str = "auto"
    threads: int | None = None
    max_hours: float | None = None
    save_every_s: float = 300.0
    scratch: Path | None = None
    origin: tuple[str, ...] = ()


def scratch_place(wanted: Path | None) -> Path | None:
    """The folder on a local disk that was named, or that the environment names; None if there is no such disk.

    Raises:
        RecipeError: There is no folder of this name.
    """
    place = wanted or next((Path(p) for name in ("SLURM_TMPDIR", "TMPDIR") if (p := os.environ.get(name))), None)
    if place is not None and not place.is_dir():
        raise RecipeError(f"--scratch {place}: no such folder. Make it, or name another.")
    return place


@contextmanager
def scratch_folder(wanted: Path | None) -> Iterator[Path | None]:
    """A folder of our own on a local disk, removed at the end; None where there is no such disk."""
    place = scratch_place(wanted)
    if place is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tpsctl-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)

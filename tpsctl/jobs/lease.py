"""Lets only one process work on a shard, by a lease file with a heartbeat.

The file is made with O_EXCL, which is atomic on NFS too (a lock by `flock` may not be), and says who holds it. A
holder that is gone is replaced: at once if its process is dead on this host, or if it was an earlier run of the same
batch job; otherwise when the lease has not changed for `STALE_S` seconds while we watched. No clocks are compared, so
one that is wrong, or is set, changes nothing.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tpsctl.errors import OutputError, StateError

BEAT_S = 5.0
STALE_S = 60.0
_LOOK_S = 1.0


class Lease:
    """The right to work on a shard, from `take` to `release`.

    Args:
        file: The lease file; its folder exists.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._me = _this_process()
        self._beats = 0

    def take(self, *, stale_s: float = STALE_S) -> None:
        """Take the lease, if need be from a holder that is gone.

        Raises:
            StateError: A process that lives holds it.
        """
        while not self._make():
            before = _read(self.file)
            if before is None:
                continue
            if not _is_gone(before, self._me) and not _is_silent(self.file, before, stale_s):
                raise StateError(
                    f"{self.file}: {_name(before)} works on this already. Wait for it, or end it; nothing was changed."
                )
            self._clear(before)

    def beat(self) -> bool:
        """Show that the holder lives; False if the lease was taken over."""
        found = _read(self.file)
        if found is None or found.get("token") != self._me["token"]:
            return False
        self._beats += 1
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}.tmp")
        with suppress(OSError):  # a full disk is told when a result is written
            temporary.write_text(self._text(), encoding="utf-8")
            os.replace(temporary, self.file)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return True

    def release(self) -> None:
        """Give the lease back, unless it was taken over."""
        found = _read(self.file)
        if found is not None and found.get("token") == self._me["token"]:
            with suppress(OSError):
                self.file.unlink(missing_ok=True)

    def _make(self) -> bool:
        try:
            descriptor = os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise OutputError(f"{self.file}: cannot be written ({error.strerror or error}).") from error
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(self._text())
        except OSError as error:
            self.file.unlink(missing_ok=True)
            raise OutputError(f"{self.file}: cannot be written ({error.strerror or error}).") from error
        return True

    def _text(self) -> str:
        return json.dumps(self._me | {"beats": self._beats}) + "\n"

    def _clear(self, before: dict[str, Any]) -> None:
        """Put aside the lease of a process that is gone, unless another process did so first."""
        aside = self.file.with_name(f".{self.file.name}.{os.getpid()}.old.tmp")
        with suppress(FileNotFoundError):
            os.rename(self.file, aside)
            if _read(aside) != before:
                with suppress(FileExistsError):
                    os.link(aside, self.file)
            aside.unlink()


@contextmanager
def leased(lease: Lease, also: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Hold a lease and renew it regularly; the yielded function says whether another process has taken it over.

    Raises:
        StateError: A process that lives holds it.
        OutputError: The folder cannot be made or written.
    """
    try:
        lease.file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{lease.file.parent}: cannot be made ({error.strerror or error}).") from None
    lease.take()
    lost, stop = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            if not lease.beat():
                lost.set()
            also()

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield lost.is_set
    finally:
        stop.set()
        beating.join()
        lease.release()


def holder(file: Path, *, stale_s: float = STALE_S) -> str:
    """Name the process that holds a lease; "" if no living process does."""
    found = _read(file)
    if not found or _is_gone(found, _this_process()) or _is_silent(file, found, stale_s):
        return ""
    return _name(found)


def _this_process() -> dict[str, Any]:
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return {
        "token": os.urandom(8).hex(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "place": _place(),
        "began": _began(os.getpid()),
        "job": f"{job}_{task}" if job and task else job,
        "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    }


def _read(file: Path) -> dict[str, Any] | None:
    """Read the content of a lease; {} while it is being written, None if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def _is_gone(other: dict[str, Any], me: dict[str, Any]) -> bool:
    """Whether the process that holds a lease is certainly dead."""
    if other.get("job") and other["job"] == me["job"] and other["restart"] < me["restart"]:
        return True
    here = other.get("host") == me["host"] and other.get("place") == me["place"]
    return here and _began(other["pid"]) != other["began"]


def _is_silent(file: Path, before: dict[str, Any], stale_s: float) -> bool:
    """Whether the lease does not change for `stale_s` seconds, by a clock of this process that nobody can set."""
    if before and before.get("host") == socket.gethostname() and before.get("place") == _place():
        return False  # its process was just seen alive
    end = time.monotonic() + stale_s
    while time.monotonic() < end:
        time.sleep(min(_LOOK_S, stale_s))
        if _read(file) != before:
            return False
    return True


def _place() -> str:
    """Identify the running system and its process namespace: only there do equal process ids mean equal processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _began(pid: int) -> int | None:
    """When a process began, in ticks since boot: a later process with its id began later. None if there is none."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0 if not Path("/proc/self").exists() and lives(pid) else None
    return None if words[0] == "Z" else int(words[19])


def lives(pid: int) -> bool:
    """Whether there is such a process on this host; one that ended but was not waited for counts as living."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _name(found: dict[str, Any]) -> str:
    job = f", job {found['job']}" if found.get("job") else ""
    return f"process {found['pid']} on {found['host']}{job}" if found else "a process that is just starting"

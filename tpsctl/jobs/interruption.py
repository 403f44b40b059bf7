"""Stops a long job between two steps, so that what it has done can be saved whole.

While the block runs, SIGINT (Ctrl-C), SIGTERM (batch systems) and SIGUSR1 (a time limit is near) are only noted;
the job asks, saves and stops itself. So it does when its own time limit would pass before the next step is done and
saved. A second signal takes effect at once, and so does, at the end of the block, one that nobody asked about. Time is
counted by a clock that cannot be set.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tpsctl.errors import ExitCode, Interrupted, exit_code_of

EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGUSR1: ExitCode.RESUMABLE,
}
"""The signals that are noted, and the exit code of a job that each of them stopped."""

_STARTED = time.monotonic()
_SAVING_S = 2.0
"""What is left of the time limit for saving and ending, on top of the longest step so far."""

ENDING_S = 8.0
"""Time to end by itself after SIGTERM or SIGINT; batch systems kill after 30 s, a person waits 10."""


@contextmanager
def ended_in_time(limit_s: float) -> Iterator[None]:
    """End the process at once if it has not ended by itself some seconds after SIGTERM or SIGINT.

    Python runs signal handlers between two of its own steps only: a library that computes for a minute, or that
    swallows the exception of the handler, would delay the end as long. A thread is told of the signal by the
    operating system instead. What was saved before the signal stays; nothing is saved any more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_a_signal, args=(told, limit_s), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(tell)  # ends the thread


def _end_after_a_signal(told: int, limit_s: float) -> None:
    while numbers := os.read(told, 64):
        for number in numbers:
            if number not in (signal.SIGTERM, signal.SIGINT):
                continue
            time.sleep(limit_s)
            text = f"tpsctl: what was under way did not end within {limit_s:g} s of the signal; stopped at once. "
            text += "What was saved before is there: the same command goes on from it.\n"
            sys.stderr.write(text)
            sys.stderr.flush()
            os._exit(EXIT_CODES[signal.Signals(number)])
    os.close(told)


class TimeLimit:
    """Says when a job should stop because its time is nearly up.

    Args:
        hours: Since the start of this program; None for no limit.
    """

    def __init__(self, hours: float | None = None) -> None:
        self._end = None if hours is None else _STARTED + 3600 * hours
        self._last, self._longest = time.monotonic(), 0.0

    def near(self) -> bool:
        """Whether another step might end too late, if it takes as long as the longest one so far."""
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        return self._end is not None and now + self._longest + _SAVING_S > self._end


@contextmanager
def telling_how_to_go_on(command: str) -> Iterator[None]:
    """Wrap a job that saves its own work: whatever stops it, the message names the command that continues it.

    Raises:
        Interrupted: Instead of what stopped it.
    """
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(f"{stop}\nGo on with: {command}", stop.exit_code) from None
    except (KeyboardInterrupt, SystemExit) as end:
        stopped = Interrupted(f"interrupted; what was saved before is there.\nGo on with: {command}", exit_code_of(end))
        raise stopped from None


@contextmanager
def noted_interruptions(max_hours: float | None = None) -> Iterator[Callable[[], int]]:
    """Give a function that returns 0 while the job may continue, else the exit code to stop with (75, 130, 143)."""
    limit, received, told = TimeLimit(max_hours), [0], [False]

    def asked() -> int:
        told[0] = received[0] > 0
        return EXIT_CODES[signal.Signals(received[0])] if told[0] else ExitCode.RESUMABLE if limit.near() else 0

    if threading.current_thread() is not threading.main_thread():
        yield asked  # Python delivers signals to the main thread only
        return
    before = {number: signal.getsignal(number) for number in EXIT_CODES}

    def note(number: int, frame: FrameType | None) -> None:
        received[0] = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in EXIT_CODES:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received[0] and not told[0]:
        signal.raise_signal(received[0])

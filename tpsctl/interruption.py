"""Stopping a long job between two steps, so that what it has done can be saved whole.

While the block runs, SIGINT (Ctrl-C) and SIGTERM (batch systems) are only noted; the job asks and
stops itself. A second signal of either sort takes effect at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def noted_interruptions() -> Iterator[Callable[[], int]]:
    """Gives a function that returns the number of the signal received, 0 if there was none."""
    received = [0]
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0  # Python delivers signals to the main thread only
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        received[0] = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

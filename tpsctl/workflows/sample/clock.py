"""Measures the wall time of the parts of a job; it continues after an interruption."""

import time
from collections.abc import Mapping


class Clock:
    """Adds up seconds by name.

    Args:
        seconds: What earlier parts of the job took.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Add the time since the last call to this part."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 3)
        self._last = now

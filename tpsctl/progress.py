"""How a long job reports what it is doing.

A workflow calls `say` for a fact and `task` around a loop. Whether a person sees a bar, a timestamped line or nothing
is decided by the subclass of `Progress` it was given (`console` has two).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[int, str], None]
"""A function that is called with the number of steps done and a short text about the latest one."""


class Progress:
    """Reports nothing; the base class of those that do."""

    def say(self, text: str) -> None:
        """Report a fact that is worth a line."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Update]:
        """Report a loop of `total` steps (0: unknown); the yielded function is called after each of them."""
        yield lambda done, text: None

"""What a long job tells whoever watches: the silent base class, and the interface of all others.

Flow modules call `say` for a fact and `task` around a loop. What becomes of it (a Rich bar, a
timestamped line, nothing) is decided in `console`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[int, str], None]
"""Call with how many are done so far and a short text about now."""


class Progress:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """A fact worth a line."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Update]:
        """A loop of `total` steps; call the yielded function after each."""
        yield lambda done, text: None

"""Says which of the batches of a run one process computes."""

import re
from dataclasses import dataclass

from tpsctl.errors import RecipeError


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `of`; batch k belongs to part k mod `of`, counted from 0."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """ "2/4" -> the second of four.

        Raises:
            RecipeError: It is none.
        """
        matched = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        shard = cls(*map(int, matched.groups())) if matched else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise RecipeError(f"--shard {text}: expected i/N with 1 <= i <= N, e.g. 2/4 for the second of four.")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """Name of its folder in state/shards."""
        return f"{self.number:04d}_of_{self.of:04d}"

    def owns(self, batch: int) -> bool:
        """Whether this batch (from 0) is computed by this shard."""
        return batch % self.of == self.number - 1


WHOLE = Shard()
"""All batches in one process."""

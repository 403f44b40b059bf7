"""The interface of the criteria that say which samples of path guidance are wanted."""

from abc import ABC, abstractmethod

from torch import Tensor

WANTED = "wanted"
"""Name of the answer among what a criterion finds."""


class Success(ABC):
    """Says of samples whether they are wanted.

    Attributes:
        name: The criterion in words.
    """

    name: str

    @abstractmethod
    def judge(self, x: Tensor, stream: tuple[int, ...], *, tuning: bool) -> dict[str, Tensor]:
        """Judge configurations (sample, bead, dim), nm.

        Args:
            x: The configurations.
            stream: Words of the seed that the random numbers of this judgement depend on, if it needs any. Sample k of
                the same stream always meets the same random numbers, so that evaluations of a tuner can be compared.
            tuning: Whether the answer may be rougher, because it only helps to choose numbers.

        Returns:
            `WANTED`, bool (sample,), and further columns of samples.csv by name.
        """

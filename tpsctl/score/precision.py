"""A score evaluated in another floating-point precision than the path is kept in.

Paths are kept in float64, because the kinetic term takes differences of close images; a network is
evaluated in float32.
"""

import torch
from torch import Tensor

from tpsctl.score.base import Score, VectorProduct


class ScoreInPrecision(Score):
    """Another score, fed with `dtype`, answering in the precision it was asked in."""

    def __init__(self, score: Score, dtype: torch.dtype) -> None:
        self._score = score
        self._dtype = dtype
        self.conservative, self.parallel = score.conservative, score.parallel

    def __call__(self, x: Tensor) -> Tensor:
        return self._score(x.to(self._dtype)).to(x)

    def with_vjp(self, x: Tensor) -> tuple[Tensor, VectorProduct]:
        score, vjp = self._score.with_vjp(x.to(self._dtype))
        return score.to(x), lambda v: vjp(v.to(self._dtype)).to(x)

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return self._score.jvp(x.to(self._dtype), v.to(self._dtype)).to(x)

    def jacobian(self, x: Tensor) -> Tensor:
        return self._score.jacobian(x.to(self._dtype)).to(x)

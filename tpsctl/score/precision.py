"""A score evaluated in another floating-point precision than the path is kept in.

Paths are kept in float64, because the kinetic term takes differences of close images; a network is
evaluated in float32. GPUs can multiply matrices of float32 in TF32, which is several times faster: factors are rounded
to 10 bits (relative error 5e-4 instead of 6e-8), and sums stay in float32. The recipe chooses between both, not the
environment.
"""

import os

import torch
from torch import Tensor

from tpsctl.score.base import Score, VectorProduct


class ScoreInPrecision(Score):
    """Evaluates another score in the precision `dtype`, and returns results in the precision of its input.

    Args:
        score: The score that is evaluated.
        dtype: Precision of the evaluation.
    """

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


def choose_products(*, tf32: bool) -> None:
    """Multiply float32 matrices on GPUs in TF32 or in full precision, whatever environment variables say.

    cuBLAS reads its environment variable when it is first used, so this must be called before the first product.
    """
    os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def products() -> str:
    """How float32 matrices are multiplied on GPUs now: "float32" or "tf32"."""
    return "float32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
